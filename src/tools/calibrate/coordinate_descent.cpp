// A group of columns at a time: within it against its own block of H, then all other columns hear of the change in one
// product.
#include "tools/calibrate/coordinate_descent.h"

#include <algorithm>
#include <cmath>

#include "base/bf16.h"
#include "tools/calibrate/group_search.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {

constexpr int kRounds = 2;  // within a group, before the next one

/// One group of one row.
struct Group {
  const float* h;  // [size, size] at a distance of ld: its block of H
  int64_t ld;
  int64_t size;
  float levels;
  float* codes;     // [size]
  float* gradient;  // [size]: (w - v) H, of which half the derivative is
  float* moved;     // [size]: what the values have changed by
  GroupCode& code;

  /// Value k changes by `step`.
  void move(int64_t k, float step) {
    const float* row = h + k * ld;
    for (int64_t j = 0; j < size; ++j) gradient[j] -= step * row[j];
    moved[k] += step;
  }

  /// Each code to where its column's parabola is lowest.
  void choose_codes() {
    for (int64_t k = 0; k < size; ++k) {
      const float value = code.value(codes[k]);
      const float better = code.code(value + gradient[k] / h[k * ld + k], levels);
      if (better == codes[k]) continue;
      const float step = code.value(better) - value;
      if (step * (2 * gradient[k] - step * h[k * ld + k]) <= 0) continue;
      codes[k] = better;
      move(k, step);
    }
  }

  /// Scale and bias for these codes: two numbers, one system.
  void choose_line() {
    float by_code[kMaxGroup];  // H q
    float by_one[kMaxGroup];   // H 1
    double qq = 0, q1 = 0, one = 0, q_slope = 0, one_slope = 0;
    for (int64_t k = 0; k < size; ++k) {
      const float* row = h + k * ld;
      float with_codes = 0;
      float with_ones = 0;
      for (int64_t j = 0; j < size; ++j) {
        with_codes += row[j] * codes[j];
        with_ones += row[j];
      }
      by_code[k] = with_codes;
      by_one[k] = with_ones;
      qq += codes[k] * with_codes;
      q1 += codes[k] * with_ones;
      one += with_ones;
      q_slope += codes[k] * gradient[k];
      one_slope += gradient[k];
    }
    const double determinant = qq * one - q1 * q1;
    if (!(determinant > 1e-9 * qq * one)) return;
    const auto step_scale = static_cast<float>((q_slope * one - one_slope * q1) / determinant);
    const auto step_bias = static_cast<float>((one_slope * qq - q_slope * q1) / determinant);
    const GroupCode next{bf16_rounded(code.scale + step_scale), bf16_rounded(code.bias + step_bias)};
    if (next.scale == 0 || !std::isfinite(next.scale) || !std::isfinite(next.bias)) return;
    const double ds = next.scale - code.scale;  // what rounding left of the steps
    const double db = next.bias - code.bias;
    if (2 * (ds * q_slope + db * one_slope) - (ds * ds * qq + 2 * ds * db * q1 + db * db * one) <= 0) return;
    for (int64_t k = 0; k < size; ++k) {
      gradient[k] -= static_cast<float>(ds) * by_code[k] + static_cast<float>(db) * by_one[k];
      moved[k] += next.value(codes[k]) - code.value(codes[k]);
    }
    code = next;
  }
};

}  // namespace

void coordinate_descent(std::span<const float> weights, std::span<const float> h, int sweeps, RowCodes& out) {
  const int64_t cols = out.cols;
  const int64_t size = out.format.group_size;
  const std::vector<float> off = out.errors(weights);
  std::vector<float> gradients(off.size());
  std::vector<float> moved(static_cast<size_t>(out.rows * size));
  multiply({off.data(), out.rows, cols, cols}, {h.data(), cols, cols, cols}, Into::assign, gradients.data(), cols);
  for (int64_t first = 0; first < sweeps * cols; first += size) {
    const int64_t column = first % cols;
    std::ranges::fill(moved, 0.0F);
    for (int64_t r = 0; r < out.rows; ++r) {
      const int64_t at = r * cols + column;
      Group group{h.data() + column * cols + column,
                  cols,
                  size,
                  out.levels(),
                  out.codes.data() + at,
                  gradients.data() + at,
                  moved.data() + r * size,
                  out.group(r, column / size)};
      for (int round = 0; round < kRounds; ++round) {
        group.choose_codes();
        group.choose_line();
      }
    }
    // The group's own columns know already: they are not to hear it twice.
    const View steps{moved.data(), out.rows, size, size};
    const auto tell = [&](int64_t begin, int64_t end) {
      if (begin < end) {
        multiply(steps, {h.data() + begin * cols + column, end - begin, size, cols}, Into::subtract,
                 gradients.data() + begin, cols);
      }
    };
    tell(0, column);
    tell(column + size, cols);
  }
}

}  // namespace prosa::calibrate
