// What a conversion does with each tensor: the seam between the methods that decide and the converter that reads, packs
// and writes.
//
// Knows nothing of files or of running a model. Invariant: a plan is constant while it is used, so that rows may be
// converted by several threads and in any order with the same bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/weight_format.h"

namespace prosa::checkpoint {

/// Chooses codes, scales and biases for rows of one matrix, each row for itself. Thread-safe.
class RowQuantizer {
 public:
  virtual ~RowQuantizer() = default;

  /// rows: [count, cols] float32, the matrix's rows from `first_row` on; their contents may be used up.
  /// words: [count, cols * bits / 32], scales and biases: [count, cols / group_size] bfloat16; MLX affine, see
  /// quantize.h.
  virtual void quantize(std::span<float> rows, int64_t first_row, int64_t cols, const WeightFormat& format,
                        std::span<uint32_t> words, std::span<uint16_t> scales, std::span<uint16_t> biases) const = 0;
};

/// What becomes of a matrix.
struct MatrixPlan {
  WeightFormat format;                            // dense: stays bfloat16
  std::shared_ptr<const RowQuantizer> quantizer;  // null: round to nearest, byte for byte as MLX does
};

/// Names are those of the MLX layout, whatever is written (language_model.model.layers.0.mlp.down_proj.weight); values
/// are in its convention (norms hold 1 + w, conv1d is [channels, taps, 1]). Thread-safe.
class ConvertPlan {
 public:
  virtual ~ConvertPlan() = default;
  [[nodiscard]] virtual MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const = 0;

  /// Changes float32 values before they are quantized or rounded to bfloat16: scales folded from one tensor into its
  /// neighbours. values: [count, cols], rows from `first_row` on; a vector is one row.
  virtual void fold(const std::string& /*name*/, std::span<float> /*values*/, int64_t /*first_row*/,
                    int64_t /*cols*/) const {}
};

}  // namespace prosa::checkpoint
