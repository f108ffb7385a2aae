// A group of columns at a time: the errors of all earlier groups come in as one product, those within it one by one.
#include "tools/calibrate/gptq.h"

#include <algorithm>

#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {

/// One group of one row, its columns in turn. corrected: what earlier groups' errors make of the weights.
void feed_group(std::span<const float> weights, std::span<const float> corrected, const CholeskyFactor& factor,
                int64_t first, const GroupCode& group, float levels, float* codes, float* errors) {
  for (int64_t k = 0; k < std::ssize(corrected); ++k) {
    const float* feedback = factor.feedback.data() + (first + k) * factor.size + first;
    float value = corrected[static_cast<size_t>(k)];
    for (int64_t j = 0; j < k; ++j) value += errors[j] * feedback[j];
    codes[k] = group.code(value, levels);
    errors[k] = weights[static_cast<size_t>(k)] - group.value(codes[k]);
  }
}

}  // namespace

void gptq(std::span<const float> weights, const CholeskyFactor& factor, RowCodes& out) {
  const int64_t cols = out.cols;
  const int64_t size = out.format.group_size;
  std::vector<float> errors(weights.size());
  std::vector<float> corrected(static_cast<size_t>(out.rows * size));
  for (int64_t first = 0; first < cols; first += size) {
    const auto row = [&](int64_t r) {
      return weights.subspan(static_cast<size_t>(r * cols + first), static_cast<size_t>(size));
    };
    for (int64_t r = 0; r < out.rows; ++r) std::ranges::copy(row(r), corrected.begin() + r * size);
    multiply({errors.data(), out.rows, first, cols}, {factor.feedback.data() + first * cols, size, first, cols},
             Into::add, corrected.data(), size);
    for (int64_t r = 0; r < out.rows; ++r) {
      const auto now = std::span<const float>(corrected).subspan(static_cast<size_t>(r * size), row(r).size());
      GroupCode& group = out.group(r, first / size);
      group = search_group(now, std::span(factor.d).subspan(static_cast<size_t>(first), now.size()), out.format.bits);
      feed_group(row(r), now, factor, first, group, out.levels(), out.codes.data() + r * cols + first,
                 errors.data() + r * cols + first);
    }
  }
}

void clip_search(std::span<const float> weights, std::span<const float> importance, RowCodes& out) {
  const auto size = static_cast<size_t>(out.format.group_size);
  for (size_t at = 0; at < weights.size(); at += size) {
    const auto group = weights.subspan(at, size);
    GroupCode& code = out.groups[at / size];
    code = search_group(group, importance.subspan(at % static_cast<size_t>(out.cols), size), out.format.bits);
    for (size_t k = 0; k < size; ++k) out.codes[at + k] = code.code(group[k], out.levels());
  }
}

std::vector<float> importance_of(std::span<const double> squares) {
  double all = 0;
  for (const double square : squares) all += square;
  const double floor = 0.01 * all / static_cast<double>(squares.size()) + 1e-20;
  std::vector<float> importance;
  for (const double square : squares) importance.push_back(static_cast<float>(square + floor));
  return importance;
}

double rounding_error(std::span<const float> rows, std::span<const float> importance, const WeightFormat& format) {
  const auto cols = std::ssize(importance);
  RowCodes codes(std::ssize(rows) / cols, cols, format);
  clip_search(rows, importance, codes);
  const std::vector<float> off = codes.errors(rows);
  double sum = 0;
  for (size_t at = 0; at < off.size(); ++at)
    sum += static_cast<double>(importance[at % importance.size()]) * off[at] * off[at];
  return sum;
}

}  // namespace prosa::calibrate
