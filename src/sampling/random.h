// The sampler's random numbers: draw n of a seed is a pure function of (seed, n), the same on every machine.
//
// splitmix64 over a counter. Not for cryptography. The std:: distributions are not used: their results are not fixed
// by the standard.
#pragma once

#include <cstdint>

namespace prosa::sampling {

class CounterRandom {
 public:
  explicit CounterRandom(uint64_t seed) noexcept : key_(mix(seed + kStep)) {}

  /// Draw n, counted from 0: in [0, 1), a multiple of 2^-53.
  [[nodiscard]] double at(uint64_t n) const noexcept {
    return static_cast<double>(mix(key_ + (n + 1) * kStep) >> 11) * 0x1p-53;
  }
  /// One after the other.
  double next() noexcept { return at(counter_++); }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15ULL;
  static constexpr uint64_t mix(uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  uint64_t key_;  // mixed, so that neighbouring seeds share no draws
  uint64_t counter_ = 0;
};

}  // namespace prosa::sampling
