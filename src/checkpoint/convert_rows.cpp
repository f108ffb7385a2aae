// RowConverter: the arithmetic of a conversion.
#include "checkpoint/convert_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/bf16.h"
#include "base/mmap.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize.h"
#include "model/dequantize.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr uint32_t kInfinity = 0x7f800000U;

/// Looked at as integers, so that it becomes vector code.
bool all_finite(std::span<const float> values) {
  uint32_t found = 0;
  for (const float value : values) {
    found |= static_cast<uint32_t>((std::bit_cast<uint32_t>(value) & kInfinity) == kInfinity);
  }
  return found == 0;
}

bool all_finite(std::span<const uint16_t> halves) {
  constexpr uint16_t kExponent = 0x7f80;
  return std::ranges::none_of(halves, [](uint16_t half) { return (half & kExponent) == kExponent; });
}

/// Gives back the pages of rows that were read.
void release_rows(const Matrix& matrix, int64_t begin, int64_t end) {
  const auto release = [&](const std::byte* data, int64_t row_bytes) {
    release_pages({data + begin * row_bytes, static_cast<size_t>((end - begin) * row_bytes)});
  };
  release(matrix.data, matrix.format.row_bytes(matrix.cols));
  if (!matrix.quantized()) return;
  const int64_t scale_bytes = matrix.groups() * matrix.format.scale_bytes();
  release(matrix.scales, scale_bytes);
  if (matrix.format.has_biases()) release(matrix.biases, scale_bytes);
}

}  // namespace

void SquareSums::add(std::span<const float> is, std::span<const float> instead) {
  constexpr size_t kLanes = 16;      // sums of their own become vector code
  constexpr size_t kStretch = 4096;  // and don't grow too large for float32
  for (size_t stretch = 0; stretch < is.size(); stretch += kStretch) {
    const size_t end = std::min(is.size(), stretch + kStretch);
    std::array<float, kLanes> squares{};
    std::array<float, kLanes> apart{};
    size_t start = stretch;
    for (; start + kLanes <= end; start += kLanes) {
      for (size_t i = 0; i < kLanes; ++i) {
        const float difference = is[start + i] - instead[start + i];
        squares[i] += is[start + i] * is[start + i];
        apart[i] += difference * difference;
      }
    }
    for (size_t i = 0; start + i < end; ++i) {
      const float difference = is[start + i] - instead[start + i];
      squares[i] += is[start + i] * is[start + i];
      apart[i] += difference * difference;
    }
    for (size_t i = 0; i < kLanes; ++i) {
      values += static_cast<double>(squares[i]);
      differences += static_cast<double>(apart[i]);
    }
  }
}

SquareSums& SquareSums::operator+=(const SquareSums& other) noexcept {
  values += other.values;
  differences += other.differences;
  return *this;
}

double SquareSums::relative_error() const {
  if (values > 0) return std::sqrt(differences / values);
  return differences > 0 ? 1.0 : 0.0;
}

void read_rows(const ConvertTensor& tensor, int64_t begin, int64_t end, std::span<float> out) {
  if (tensor.matrix == nullptr) {
    std::ranges::copy(tensor.values.subspan(static_cast<size_t>(begin * tensor.cols), out.size()), out.begin());
    return;
  }
  for (int64_t row = begin; row < end; ++row) {
    dequantize_row(*tensor.matrix, row, out.data() + (row - begin) * tensor.cols);
  }
  release_rows(*tensor.matrix, begin, end);
}

int64_t block_rows(const ConvertTensor& tensor) {
  constexpr int64_t kBlockWeights = 1 << 20;  // a thread holds about 20 bytes for each
  return std::max<int64_t>(1, kBlockWeights / tensor.cols);
}

SquareSums RowConverter::convert(const ConvertTensor& tensor, int64_t begin, int64_t end,
                                 format::SafetensorsWriter& writer, size_t first_slot) {
  rows_.resize(static_cast<size_t>((end - begin) * tensor.cols));
  read_rows(tensor, begin, end, rows_);
  if (tensor.matrix != nullptr && !tensor.matrix->quantized() && tensor.matrix->format.type != DType::bf16) {
    // As with mlx-lm: straight to 4 bit and by way of a bfloat16 folder give the same bytes.
    for (float& value : rows_) value = bf16_to_float(float_to_bf16(value));
  }
  plan_->fold(tensor.name, rows_, begin, tensor.cols);
  require_finite(tensor, begin);
  return tensor.quantized() ? write_quantized(tensor, begin, end, writer, first_slot)
                            : write_dense(tensor, begin, writer, first_slot);
}

void RowConverter::require_finite(const ConvertTensor& tensor, int64_t begin) const {
  if (all_finite(rows_)) return;
  const auto bad = std::ranges::find_if(rows_, [](float value) { return !std::isfinite(value); });
  const int64_t index = bad - rows_.begin();
  throw Error(ErrorCode::bad_checkpoint,
              "the weight at row " + std::to_string(begin + index / tensor.cols) + ", column " +
                  std::to_string(index % tensor.cols) + " of '" + tensor.name + "' is not a finite bfloat16 number",
              source_, "the file is damaged: fetch it again");
}

SquareSums RowConverter::write_dense(const ConvertTensor& tensor, int64_t begin, format::SafetensorsWriter& writer,
                                     size_t slot) {
  const auto first = static_cast<uint64_t>(begin * tensor.cols);
  SquareSums error;
  if (tensor.format.type == DType::f32) {
    writer.write(slot, first * sizeof(float), std::as_bytes(std::span<const float>(rows_)));
    error.add(rows_, rows_);
    return error;
  }
  kept_ = rows_;
  halves_.resize(rows_.size());
  for (size_t i = 0; i < rows_.size(); ++i) {
    halves_[i] = float_to_bf16(rows_[i]);
    rows_[i] = bf16_to_float(halves_[i]);
  }
  require_finite(tensor, begin);  // rounding up may have left the range
  error.add(kept_, rows_);
  writer.write(slot, first * sizeof(uint16_t), std::as_bytes(std::span<const uint16_t>(halves_)));
  return error;
}

SquareSums RowConverter::write_quantized(const ConvertTensor& tensor, int64_t begin, int64_t end,
                                         format::SafetensorsWriter& writer, size_t slot) {
  const WeightFormat& format = tensor.format;
  const auto rows = static_cast<size_t>(end - begin);
  const auto cols = static_cast<size_t>(tensor.cols);
  const size_t row_words = cols * static_cast<size_t>(format.bits) / 32;
  const size_t row_groups = cols / static_cast<size_t>(format.group_size);
  words_.resize(rows * row_words);
  kept_ = rows_;
  const auto first = static_cast<uint64_t>(begin);
  if (format.coding == WeightCoding::mxfp4) {
    small_scales_.resize(rows * row_groups);
    for (size_t r = 0; r < rows; ++r) {
      quantize_row_mxfp4(std::span<const float>(rows_).subspan(r * cols, cols),
                         std::span(words_).subspan(r * row_words, row_words),
                         std::span(small_scales_).subspan(r * row_groups, row_groups));
    }
    writer.write(slot, first * row_words * 4, std::as_bytes(std::span<const uint32_t>(words_)));
    writer.write(slot + 1, first * row_groups, std::as_bytes(std::span<const uint8_t>(small_scales_)));
    return error_of(tensor, end - begin, reinterpret_cast<const std::byte*>(small_scales_.data()), nullptr);
  }
  scales_.resize(rows * row_groups);
  biases_.resize(rows * row_groups);
  if (tensor.quantizer != nullptr) {
    tensor.quantizer->quantize(rows_, begin, tensor.cols, format, words_, scales_, biases_);
  } else {
    for (size_t r = 0; r < rows; ++r) {
      quantize_row(std::span<const float>(rows_).subspan(r * cols, cols), format,
                   std::span(words_).subspan(r * row_words, row_words),
                   std::span(scales_).subspan(r * row_groups, row_groups),
                   std::span(biases_).subspan(r * row_groups, row_groups), ScaleRule::divided);
    }
  }
  if (!all_finite(scales_) || !all_finite(biases_)) {
    throw Error(ErrorCode::bad_checkpoint,
                "the weights in rows " + std::to_string(begin) + " to " + std::to_string(end - 1) + " of '" +
                    tensor.name + "' span more than a bfloat16 scale can",
                source_, "keep this tensor at 16 bits");
  }

  writer.write(slot, first * row_words * 4, std::as_bytes(std::span<const uint32_t>(words_)));
  writer.write(slot + 1, first * row_groups * 2, std::as_bytes(std::span<const uint16_t>(scales_)));
  writer.write(slot + 2, first * row_groups * 2, std::as_bytes(std::span<const uint16_t>(biases_)));
  return error_of(tensor, end - begin, reinterpret_cast<const std::byte*>(scales_.data()),
                  reinterpret_cast<const std::byte*>(biases_.data()));
}

SquareSums RowConverter::error_of(const ConvertTensor& tensor, int64_t rows, const std::byte* scales,
                                  const std::byte* biases) {
  Matrix written;
  written.rows = rows;
  written.cols = tensor.cols;
  written.format = tensor.format;
  written.data = reinterpret_cast<const std::byte*>(words_.data());
  written.scales = scales;
  written.biases = biases;
  const auto cols = static_cast<size_t>(tensor.cols);
  SquareSums error;
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = std::span(rows_).subspan(static_cast<size_t>(r) * cols, cols);
    dequantize_row(written, r, row.data());
    error.add(std::span<const float>(kept_).subspan(static_cast<size_t>(r) * cols, cols), row);
  }
  return error;
}

}  // namespace prosa::checkpoint
