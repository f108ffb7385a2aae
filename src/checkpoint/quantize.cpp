// The affine quantizer and its bit streams. Order and precision of the float operations are part of the format: they
// make the bits equal to those of MLX.
#include "checkpoint/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/bf16.h"
#include "base/check.h"

namespace prosa::checkpoint {

namespace {

/// Unpacks with the width known to the compiler, 32 values = Bits words at a time.
template <int Bits>
void unpack(const std::byte* words, std::span<uint8_t> q) {
  constexpr uint32_t kMask = (1U << Bits) - 1U;
  for (size_t block = 0; block < q.size(); block += 32) {
    std::array<uint32_t, Bits> word;
    std::memcpy(word.data(), words + block / 32 * sizeof word, sizeof word);
    for (size_t i = 0; i < 32; ++i) {
      const size_t bit = i * Bits;
      uint32_t value = word[bit / 32] >> (bit % 32);
      if (bit % 32 + Bits > 32) value |= word[bit / 32 + 1] << (32 - bit % 32);
      q[block + i] = static_cast<uint8_t>(value & kMask);
    }
  }
}

struct GroupCode {
  float scale;
  float bias;
};

/// Scale and bias of a group: the extreme of larger magnitude becomes a multiple of the scale, so that it is exact.
GroupCode group_code(std::span<const float> group, float levels) {
  const auto [low, high] = std::ranges::minmax(group);
  const bool low_is_edge = std::fabs(low) > std::fabs(high);
  const float edge = low_is_edge ? low : high;
  // Times the rounded reciprocal, not divided: only so do groups with low = -high come out as MLX makes them.
  float scale = std::max((high - low) * (1.0F / levels), 1e-7F);
  if (!low_is_edge) scale = -scale;
  const float steps = std::nearbyint(edge / scale);
  if (steps == 0.0F) return {scale, 0.0F};
  return {edge / steps, edge};
}

}  // namespace

bool is_known_quantization(int bits, int group_size) noexcept {
  const bool known_bits = bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8;
  return known_bits && (group_size == 32 || group_size == 64 || group_size == 128);
}

void pack_row(std::span<const uint8_t> q, int bits, std::span<uint32_t> words) {
  PROSA_CHECK(q.size() % 32 == 0 && words.size() == q.size() / 32 * static_cast<size_t>(bits));
  uint64_t pending = 0;
  int pending_bits = 0;
  size_t next = 0;
  for (const uint8_t value : q) {
    pending |= static_cast<uint64_t>(value) << pending_bits;
    pending_bits += bits;
    if (pending_bits >= 32) {
      words[next++] = static_cast<uint32_t>(pending);
      pending >>= 32;
      pending_bits -= 32;
    }
  }
}

void unpack_row(const std::byte* words, int bits, std::span<uint8_t> q) {
  PROSA_CHECK(q.size() % 32 == 0);
  switch (bits) {
    case 2: return unpack<2>(words, q);
    case 3: return unpack<3>(words, q);
    case 4: return unpack<4>(words, q);
    case 5: return unpack<5>(words, q);
    case 6: return unpack<6>(words, q);
    case 8: return unpack<8>(words, q);
    default: PROSA_CHECK(!"bits of a quantized matrix");
  }
}

void quantize_row(std::span<const float> row, int bits, int group_size, std::span<uint32_t> words,
                  std::span<uint16_t> scales, std::span<uint16_t> biases) {
  PROSA_CHECK(is_known_quantization(bits, group_size) && row.size() % static_cast<size_t>(group_size) == 0);
  const auto group = static_cast<size_t>(group_size);
  const auto levels = static_cast<float>((1 << bits) - 1);
  PROSA_CHECK(scales.size() == row.size() / group && biases.size() == scales.size());
  std::array<uint8_t, 128> q;
  const size_t group_words = group * static_cast<size_t>(bits) / 32;
  for (size_t g = 0; g < scales.size(); ++g) {
    const auto values = row.subspan(g * group, group);
    const GroupCode code = group_code(values, levels);
    for (size_t i = 0; i < group; ++i) {
      const float steps = std::nearbyint((values[i] - code.bias) / code.scale);
      q[i] = static_cast<uint8_t>(std::clamp(steps, 0.0F, levels));
    }
    pack_row({q.data(), group}, bits, words.subspan(g * group_words, group_words));
    scales[g] = float_to_bf16(code.scale);
    biases[g] = float_to_bf16(code.bias);
  }
}

}  // namespace prosa::checkpoint
