// A bundle of rows at a time, a group of columns at a time.
#include "calibrate/error_feedback.h"

#include <algorithm>
#include <array>

#include "base/bf16.h"
#include "base/check.h"
#include "base/parallel.h"
#include "calibrate/group_search.h"
#include "calibrate/products.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize.h"

namespace prosa::calibrate {
namespace {

constexpr int64_t kBundle = 32;  // rows that share what is read of the feedback

/// Where one row's codes go.
class RowWriter {
 public:
  RowWriter(StoredRows& out, int64_t row) : out_(out), codes_(static_cast<size_t>(out.cols)), row_(row) {}
  void put(int64_t column, float code) { codes_[static_cast<size_t>(column)] = static_cast<uint8_t>(code); }
  void put_group(int64_t group, const GroupCode& code) {
    const auto at = static_cast<size_t>(row_ * (out_.cols / out_.group_size) + group);
    out_.scales[at] = float_to_bf16(code.scale);
    out_.biases[at] = float_to_bf16(code.bias);
  }
  void finish() {
    const auto words = static_cast<size_t>(out_.cols * out_.bits / 32);
    checkpoint::pack_row(codes_, out_.bits, std::span(out_.words).subspan(static_cast<size_t>(row_) * words, words));
  }

 private:
  StoredRows& out_;
  std::vector<uint8_t> codes_;
  int64_t row_;
};

/// One group of one row, its columns in turn. corrected: what earlier groups' errors make of the weights.
void feed_group(std::span<const float> weights, std::span<const float> corrected, const Factor& factor, int64_t first,
                int64_t group, RowWriter& writer, int bits, float* errors) {
  const auto levels = static_cast<float>((1 << bits) - 1);
  const auto size = static_cast<int64_t>(corrected.size());
  const GroupCode code =
      search_group(corrected, std::span(factor.d).subspan(static_cast<size_t>(first), corrected.size()), bits);
  writer.put_group(group, code);
  for (int64_t k = 0; k < size; ++k) {
    const float* feedback = factor.feedback.data() + (first + k) * factor.size + first;
    float value = corrected[static_cast<size_t>(k)];
    for (int64_t j = 0; j < k; ++j) value += errors[j] * feedback[j];
    const float q = code.code(value, levels);
    writer.put(first + k, q);
    errors[k] = weights[static_cast<size_t>(k)] - code.value(q);
  }
}

}  // namespace

StoredRows::StoredRows(int64_t rows, int64_t columns, int code_bits, int group)
    : cols(columns),
      bits(code_bits),
      group_size(group),
      words(static_cast<size_t>(rows * columns * code_bits / 32)),
      scales(static_cast<size_t>(rows * columns / group)),
      biases(scales.size()) {}

void StoredRows::quantize(std::span<float> rows, int64_t first_row, int64_t columns, int code_bits, int group,
                          std::span<uint32_t> to_words, std::span<uint16_t> to_scales,
                          std::span<uint16_t> to_biases) const {
  PROSA_CHECK(columns == cols && code_bits == bits && group == group_size);
  const auto count = static_cast<int64_t>(rows.size()) / cols;
  const auto copy = [&](const auto& from, auto to, int64_t width) {
    std::copy_n(from.begin() + first_row * width, count * width, to.begin());
  };
  copy(words, to_words, cols * bits / 32);
  copy(scales, to_scales, cols / group_size);
  copy(biases, to_biases, cols / group_size);
}

void StoredRows::read_row(int64_t row, float* out) const {
  Matrix matrix;
  matrix.rows = static_cast<int64_t>(scales.size()) * group_size / cols;
  matrix.cols = cols;
  matrix.bits = bits;
  matrix.group_size = group_size;
  matrix.data = reinterpret_cast<const std::byte*>(words.data());
  matrix.scales = reinterpret_cast<const std::byte*>(scales.data());
  matrix.biases = reinterpret_cast<const std::byte*>(biases.data());
  checkpoint::dequantize_row(matrix, row, out);
}

std::shared_ptr<const StoredRows> feed_back(std::span<const float> weights, const Factor& factor, int bits,
                                            int group_size, int threads) {
  const int64_t cols = factor.size;
  const auto rows = static_cast<int64_t>(weights.size()) / cols;
  auto out = std::make_shared<StoredRows>(rows, cols, bits, group_size);
  const auto bundles = static_cast<size_t>((rows + kBundle - 1) / kBundle);
  for_each_item(bundles, threads, [&](size_t /*worker*/, size_t bundle) {
    const int64_t begin = static_cast<int64_t>(bundle) * kBundle;
    const int64_t here = std::min(kBundle, rows - begin);
    std::vector<float> errors(static_cast<size_t>(here * cols));
    std::vector<float> corrected(static_cast<size_t>(here * group_size));
    std::vector<RowWriter> writers;
    for (int64_t r = 0; r < here; ++r) writers.emplace_back(*out, begin + r);
    for (int64_t first = 0; first < cols; first += group_size) {
      const auto row = [&](int64_t r) {
        return weights.subspan(static_cast<size_t>((begin + r) * cols + first), static_cast<size_t>(group_size));
      };
      for (int64_t r = 0; r < here; ++r) std::ranges::copy(row(r), corrected.begin() + r * group_size);
      multiply({errors.data(), here, first, cols}, {factor.feedback.data() + first * cols, group_size, first, cols},
               Into::add, corrected.data(), group_size);
      for (int64_t r = 0; r < here; ++r) {
        feed_group(row(r), std::span(corrected).subspan(static_cast<size_t>(r * group_size), row(r).size()), factor,
                   first, first / group_size, writers[static_cast<size_t>(r)], bits, errors.data() + r * cols + first);
      }
    }
    for (RowWriter& writer : writers) writer.finish();
  });
  return out;
}

std::shared_ptr<const StoredRows> clip(std::span<const float> weights, std::span<const float> importance, int bits,
                                       int group_size, int threads) {
  const auto cols = static_cast<int64_t>(importance.size());
  const auto rows = static_cast<int64_t>(weights.size()) / cols;
  const auto levels = static_cast<float>((1 << bits) - 1);
  auto out = std::make_shared<StoredRows>(rows, cols, bits, group_size);
  for_each_item(static_cast<size_t>(rows), threads, [&](size_t /*worker*/, size_t item) {
    const auto row = static_cast<int64_t>(item);
    RowWriter writer(*out, row);
    for (int64_t first = 0; first < cols; first += group_size) {
      const auto group = weights.subspan(static_cast<size_t>(row * cols + first), static_cast<size_t>(group_size));
      const GroupCode code =
          search_group(group, importance.subspan(static_cast<size_t>(first), static_cast<size_t>(group_size)), bits);
      writer.put_group(first / group_size, code);
      for (int64_t k = 0; k < group_size; ++k) writer.put(first + k, code.code(group[static_cast<size_t>(k)], levels));
    }
    writer.finish();
  });
  return out;
}

}  // namespace prosa::calibrate
