// Some rows of a matrix while their codes are chosen, and a finished matrix that the converter asks for row by row.
//
// Knows no method. Invariant: every group's scale and bias are bfloat16 numbers and every code is a whole number within
// its bits, so what is measured here is what will be read.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "checkpoint/convert_plan.h"
#include "tools/calibrate/group_search.h"

namespace prosa::calibrate {

struct RowCodes {
  RowCodes(int64_t row_count, int64_t columns, const WeightFormat& code_format);

  [[nodiscard]] float levels() const { return static_cast<float>((1 << format.bits) - 1); }
  [[nodiscard]] GroupCode& group(int64_t row, int64_t index) {
    return groups[static_cast<size_t>(row * format.groups(cols) + index)];
  }
  /// weights - values, for weights [rows, cols]
  [[nodiscard]] std::vector<float> errors(std::span<const float> weights) const;

  int64_t rows;
  int64_t cols;
  WeightFormat format;
  std::vector<float> codes;       // [rows, cols]
  std::vector<GroupCode> groups;  // [rows, cols / group_size]
};

class StoredRows : public checkpoint::RowQuantizer {
 public:
  StoredRows(int64_t rows, int64_t cols, const WeightFormat& format);
  void quantize(std::span<float> rows, int64_t first_row, int64_t cols, const WeightFormat& format,
                std::span<uint32_t> words, std::span<uint16_t> scales, std::span<uint16_t> biases) const override;
  /// Row -> float32 [cols], as it will be read.
  void read_row(int64_t row, float* out) const;
  void put(int64_t first_row, const RowCodes& codes);

  const int64_t cols;
  const WeightFormat format;
  std::vector<uint32_t> words;   // [rows, cols * bits / 32]
  std::vector<uint16_t> scales;  // [rows, cols / group_size]
  std::vector<uint16_t> biases;  // [rows, cols / group_size]
};

/// Chooses codes for `weights` [codes.rows, codes.cols]. Called by several threads at once.
using ChooseCodes = std::function<void(std::span<const float> weights, RowCodes& codes)>;

/// weights [rows, cols] -> rows of `out` from `first_row` on, bundle by bundle.
void choose_rows(std::span<const float> weights, int64_t first_row, int threads, const ChooseCodes& choose,
                 StoredRows& out);

}  // namespace prosa::calibrate
