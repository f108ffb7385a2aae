// Rows of one tensor on their way: read, folded, quantized or rounded, measured, written.
//
// One object per thread, so that its buffers are reused. Knows no files' names and no order. Invariant: the bytes of a
// block depend on the tensor and the plan only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/convert_tensors.h"
#include "format/safetensors_writer.h"

namespace prosa::checkpoint {

/// Sums of squared values, and of squared differences to what stands in their place.
struct SquareSums {
  double values = 0;
  double differences = 0;

  /// In an order of its own, so that the bits depend on the values only.
  void add(std::span<const float> is, std::span<const float> instead);
  SquareSums& operator+=(const SquareSums& other) noexcept;
  /// ||W - Ŵ|| / ||W||; 0 for no weights but zeros.
  [[nodiscard]] double relative_error() const;
};

/// Rows [begin, end) of `tensor` as its source holds them -> out [end - begin, cols], and the pages given back.
void read_rows(const ConvertTensor& tensor, int64_t begin, int64_t end, std::span<float> out);

/// Rows of a block that a thread works on: about a million weights.
int64_t block_rows(const ConvertTensor& tensor);

class RowConverter {
 public:
  RowConverter(const ConvertPlan& plan, std::string source) : plan_(&plan), source_(std::move(source)) {}

  /// Rows [begin, end) of `tensor` into the writer's tensors number `first_slot` and, when quantized, those after it:
  /// scales, and biases where there are some. Errors: bad_checkpoint (not finite: tensor, row, column), io.
  SquareSums convert(const ConvertTensor& tensor, int64_t begin, int64_t end, format::SafetensorsWriter& writer,
                     size_t first_slot);

 private:
  void require_finite(const ConvertTensor& tensor, int64_t begin) const;
  SquareSums write_dense(const ConvertTensor& tensor, int64_t begin, format::SafetensorsWriter& writer, size_t slot);
  SquareSums write_quantized(const ConvertTensor& tensor, int64_t begin, int64_t end, format::SafetensorsWriter& writer,
                             size_t slot);
  /// Of what stands in words_ beside kept_; rows_ are used up.
  SquareSums error_of(const ConvertTensor& tensor, int64_t rows, const std::byte* scales, const std::byte* biases);

  const ConvertPlan* plan_;
  std::string source_;  // for messages
  std::vector<float> rows_;
  std::vector<float> kept_;  // the rows as a quantizer was given them
  std::vector<uint16_t> halves_;
  std::vector<uint32_t> words_;
  std::vector<uint16_t> scales_;
  std::vector<uint16_t> biases_;
  std::vector<uint8_t> small_scales_;
};

}  // namespace prosa::checkpoint
