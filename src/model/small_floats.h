// Floats of 4 and 8 bits, as MLX's floating-point modes store codes and scales (OCP Microscaling, NVFP4).
//
// The way to float32 is exact. Pure functions; what a row is made of them is dequantize.cpp's.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace prosa {

inline constexpr float kMaxE2m1 = 6.0F;
inline constexpr float kMaxE4m3 = 448.0F;

/// Sign, two bits of exponent, one of fraction: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
constexpr float e2m1_to_float(unsigned code) noexcept {
  constexpr std::array<float, 8> kValues{0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  const float value = kValues[code & 7U];
  return (code & 8U) != 0 ? -value : value;
}

/// Sign, four bits of exponent, three of fraction; no infinity, NaN where all but the sign are set.
constexpr float e4m3_to_float(unsigned code) noexcept {
  const unsigned exponent = code >> 3 & 15U;
  const unsigned fraction = code & 7U;
  float value = 0;
  if (exponent == 15 && fraction == 7) {
    value = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = static_cast<float>(fraction) * 0x1p-9F;
  } else {
    value = std::bit_cast<float>((exponent + 120) << 23 | fraction << 20);
  }
  return (code & 0x80U) != 0 ? -value : value;
}

/// A power of two: 2^(code - 127). 255 is MLX's infinity, which stands for no number.
constexpr float e8m0_to_float(unsigned code) noexcept {
  if (code == 0) return 0x1p-127F;
  return std::bit_cast<float>(code << 23);
}

}  // namespace prosa
