// Tensors by what they belong to: the tables of sizes and errors that convert and inspect print.
//
// Adds up and prints; reads nothing. Invariant: kinds stand in one order everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/compare.h"
#include "checkpoint/quantization_report.h"

namespace prosa::tools {

struct KindSum {
  int64_t tensors = 0;
  int64_t weights = 0;  // a quantized weight counts as one
  int64_t bytes = 0;    // scales and biases included
  int64_t source_bytes = 0;
  double squares = 0;      // ||W||² of what was compared or reported
  double differences = 0;  // ||W - Ŵ||²

  [[nodiscard]] double bits_per_weight() const;
  /// Nothing when nothing is known.
  [[nodiscard]] std::optional<double> relative_error() const;
  KindSum& operator+=(const KindSum& other);
};

/// Kinds that occur, in the order embedding, head, attention, deltanet, mlp, norms, mtp, vision, other.
using KindSums = std::vector<std::pair<std::string, KindSum>>;

KindSums sum_kinds(const checkpoint::QuantizationReport& report);
KindSums sum_kinds(const std::vector<checkpoint::TensorListing>& listings);
KindSums sum_kinds(const std::vector<checkpoint::TensorDifference>& differences);
KindSum sum_all(const KindSums& sums);

/// Weights of a listed tensor: unpacked when it is a quantized matrix, none for scales and biases.
int64_t weights_of(const checkpoint::TensorListing& listing);

/// A picture of the bytes by kind: one bar each, with bits per weight and share. `name` is escaped.
std::string kinds_svg(const KindSums& sums, const std::string& name);

}  // namespace prosa::tools
