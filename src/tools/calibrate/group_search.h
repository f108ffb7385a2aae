// Scale and bias of one group of weights, by search: which pair rounds the group with the least weighted error.
//
// Pure functions. Invariant: the pair is what a bfloat16 file holds, and the codes are those of exactly that pair, so
// what is measured is what will be read.
#pragma once

#include <cstdint>
#include <span>

namespace prosa::calibrate {

inline constexpr int64_t kMaxGroup = 128;  // columns

struct GroupCode {
  float scale = 1;  // a bfloat16 number
  float bias = 0;   // a bfloat16 number

  /// The code of a value; `levels` is 2^bits - 1.
  [[nodiscard]] float code(float value, float levels) const {
    const float steps = (value - bias) / scale;
    const float bounded = steps > 0 ? (steps < levels ? steps : levels) : 0;
    constexpr float kRounder = 0x1.8p23F;  // adding and taking it away rounds to nearest, ties to even
    return (bounded + kRounder) - kRounder;
  }
  [[nodiscard]] float value(float code) const { return scale * code + bias; }
};

/// The code for the least sum of weight * (value - rounded value)^2 among MLX's own choice, ranges shrunk at both ends,
/// and the best line through the codes of each. values, weights: [group], at most 128; weights > 0.
GroupCode search_group(std::span<const float> values, std::span<const float> weights, int bits);

}  // namespace prosa::calibrate
