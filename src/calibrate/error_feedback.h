// Codes for the rows of a matrix under second-order information: what rounding one column gets wrong, later columns
// make good (GPTQ: Frantar et al. 2022; in the form without an inverse of Chee et al. 2023).
//
// Knows matrices, no layers. Invariant: a row's codes depend on that row and the information alone, so that rows may be
// done by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "calibrate/factor.h"
#include "checkpoint/convert_plan.h"

namespace prosa::calibrate {

/// A finished matrix, which the converter asks for row by row.
class StoredRows : public checkpoint::RowQuantizer {
 public:
  StoredRows(int64_t rows, int64_t cols, int bits, int group_size);
  void quantize(std::span<float> rows, int64_t first_row, int64_t cols, int bits, int group_size,
                std::span<uint32_t> words, std::span<uint16_t> scales, std::span<uint16_t> biases) const override;
  /// Row -> float32 [cols], as it will be read.
  void read_row(int64_t row, float* out) const;

  const int64_t cols;
  const int bits;
  const int group_size;
  std::vector<uint32_t> words;   // [rows, cols * bits / 32]
  std::vector<uint16_t> scales;  // [rows, cols / group_size]
  std::vector<uint16_t> biases;  // [rows, cols / group_size]
};

/// `weights` [rows, cols]: what the rows should be. With error feedback: columns from the first to the last, each
/// group's scale searched when its turn comes, weighted by factor.d.
std::shared_ptr<const StoredRows> feed_back(std::span<const float> weights, const Factor& factor, int bits,
                                            int group_size, int threads);

/// The same without feedback: each group for itself, its columns weighted by `importance` [cols].
std::shared_ptr<const StoredRows> clip(std::span<const float> weights, std::span<const float> importance, int bits,
                                       int group_size, int threads);

}  // namespace prosa::calibrate
