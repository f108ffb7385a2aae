// The part of prosa inspect that tells where bits and bytes go and what a conversion changed.
//
// Reads the folder's headers, its quantization_report.json and, to compare, the weights of two folders. Invariant: a
// damaged report is told, and does not hide the rest.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/compare.h"
#include "checkpoint/quantization_report.h"
#include "tools/kinds.h"

namespace prosa::tools {

struct FormatReport {
  KindSums kinds;
  std::vector<checkpoint::TensorListing> exceptions;  // quantized unlike most, or left dense among quantized ones
  std::optional<checkpoint::QuantizationReport> conversion;
  std::string conversion_problem;  // why the report that is there can't be read
  std::string compared_with;       // empty: nothing was compared
  std::vector<checkpoint::TensorDifference> differences;
};

/// `compare`: a folder, or empty. Errors: as of load_weights() and compare_checkpoints().
FormatReport make_format_report(const std::filesystem::path& folder, const std::filesystem::path& compare);

/// Keys kinds, exceptions, conversion, comparison.
void add_format_json(const FormatReport& report, bool with_tensors, nlohmann::ordered_json& result);

/// `all`: every exception and every tensor's error, not just the first and worst.
void print_formats(const FormatReport& report, bool all);

}  // namespace prosa::tools
