// Codes in MLX's bit streams.
#include "tools/calibrate/row_codes.h"

#include <algorithm>

#include "base/bf16.h"
#include "base/check.h"
#include "base/parallel.h"
#include "checkpoint/quantize.h"
#include "model/dequantize.h"

namespace prosa::calibrate {
namespace {
constexpr int64_t kBundle = 96;  // rows that share what is read of second-order information
}

RowCodes::RowCodes(int64_t row_count, int64_t columns, const WeightFormat& code_format)
    : rows(row_count),
      cols(columns),
      format(code_format),
      codes(static_cast<size_t>(row_count * columns)),
      groups(static_cast<size_t>(row_count * format.groups(columns))) {}

std::vector<float> RowCodes::errors(std::span<const float> weights) const {
  std::vector<float> off(weights.begin(), weights.end());
  for (size_t at = 0; at < off.size(); ++at)
    off[at] -= groups[at / static_cast<size_t>(format.group_size)].value(codes[at]);
  return off;
}

StoredRows::StoredRows(int64_t rows, int64_t columns, const WeightFormat& code_format)
    : cols(columns),
      format(code_format),
      words(static_cast<size_t>(rows * columns * format.bits / 32)),
      scales(static_cast<size_t>(rows * format.groups(columns))),
      biases(scales.size()) {}

void StoredRows::quantize(std::span<float> rows, int64_t first_row, int64_t columns, const WeightFormat& wanted,
                          std::span<uint32_t> to_words, std::span<uint16_t> to_scales,
                          std::span<uint16_t> to_biases) const {
  PROSA_CHECK(columns == cols && wanted == format);
  const auto count = static_cast<int64_t>(rows.size()) / cols;
  const auto copy = [&](const auto& from, auto to, int64_t width) {
    std::copy_n(from.begin() + first_row * width, count * width, to.begin());
  };
  copy(words, to_words, cols * format.bits / 32);
  copy(scales, to_scales, format.groups(cols));
  copy(biases, to_biases, format.groups(cols));
}

void StoredRows::read_row(int64_t row, float* out) const {
  Matrix matrix;
  matrix.rows = static_cast<int64_t>(scales.size()) / format.groups(cols);
  matrix.cols = cols;
  matrix.format = format;
  matrix.data = reinterpret_cast<const std::byte*>(words.data());
  matrix.scales = reinterpret_cast<const std::byte*>(scales.data());
  matrix.biases = reinterpret_cast<const std::byte*>(biases.data());
  dequantize_row(matrix, row, out);
}

void StoredRows::put(int64_t first_row, const RowCodes& from) {
  PROSA_CHECK(from.cols == cols && from.format == format);
  const auto width = static_cast<size_t>(cols * format.bits / 32);
  std::vector<uint8_t> row(static_cast<size_t>(cols));
  for (int64_t r = 0; r < from.rows; ++r) {
    std::transform(from.codes.begin() + r * cols, from.codes.begin() + (r + 1) * cols, row.begin(),
                   [](float code) { return static_cast<uint8_t>(code); });
    checkpoint::pack_row(row, format.bits, std::span(words).subspan(static_cast<size_t>(first_row + r) * width, width));
  }
  const auto first = static_cast<size_t>(first_row * format.groups(cols));
  for (size_t g = 0; g < from.groups.size(); ++g) {
    scales[first + g] = float_to_bf16(from.groups[g].scale);
    biases[first + g] = float_to_bf16(from.groups[g].bias);
  }
}

void choose_rows(std::span<const float> weights, int64_t first_row, int threads, const ChooseCodes& choose,
                 StoredRows& out) {
  const auto rows = static_cast<int64_t>(weights.size()) / out.cols;
  for_each_item(static_cast<size_t>((rows + kBundle - 1) / kBundle), threads, [&](size_t /*worker*/, size_t item) {
    const int64_t begin = static_cast<int64_t>(item) * kBundle;
    RowCodes codes(std::min(kBundle, rows - begin), out.cols, out.format);
    choose(weights.subspan(static_cast<size_t>(begin * out.cols), codes.codes.size()), codes);
    out.put(first_row + begin, codes);
  });
}

}  // namespace prosa::calibrate
