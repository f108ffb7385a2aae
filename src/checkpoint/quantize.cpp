// The quantizers and their bit streams. Order and precision of the float operations are part of the format: they
// make the bits equal to those of MLX.
#include "checkpoint/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/bf16.h"
#include "base/check.h"
#include "model/small_floats.h"

namespace prosa::checkpoint {

namespace {

/// Packs with the width known to the compiler, 32 values = Bits words at a time.
template <int Bits>
void pack(std::span<const uint8_t> q, uint32_t* words) {
  for (size_t block = 0; block < q.size(); block += 32, words += Bits) {
    std::array<uint32_t, Bits> word{};
    for (size_t i = 0; i < 32; ++i) {
      const size_t bit = i * Bits;
      const uint32_t value = q[block + i];
      word[bit / 32] |= value << (bit % 32);
      if (bit % 32 + Bits > 32) word[bit / 32 + 1] |= value >> (32 - bit % 32);
    }
    std::memcpy(words, word.data(), sizeof word);
  }
}

struct Extremes {
  float low;
  float high;
};

/// In lanes of their own, as one running minimum may not be reordered. group.size() is a multiple of 32.
Extremes extremes_of(std::span<const float> group) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> low;
  std::array<float, kLanes> high;
  std::copy_n(group.begin(), kLanes, low.begin());
  high = low;
  for (size_t start = kLanes; start < group.size(); start += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) {
      const float value = group[start + i];
      low[i] = value < low[i] ? value : low[i];
      high[i] = value > high[i] ? value : high[i];
    }
  }
  return {*std::ranges::min_element(low), *std::ranges::max_element(high)};
}

struct GroupCode {
  float scale;
  float bias;
};

/// Scale and bias of a group: the extreme of larger magnitude becomes a multiple of the scale, so that it is exact.
GroupCode group_code(std::span<const float> group, float levels, ScaleRule rule) {
  const auto [low, high] = extremes_of(group);
  const bool low_is_edge = std::fabs(low) > std::fabs(high);
  const float edge = low_is_edge ? low : high;
  const float step = rule == ScaleRule::divided ? (high - low) / levels : (high - low) * (1.0F / levels);
  float scale = std::max(step, 1e-7F);
  if (!low_is_edge) scale = -scale;
  const float steps = std::nearbyint(edge / scale);
  if (steps == 0.0F) return {scale, 0.0F};
  return {edge / steps, edge};
}

/// q = the value's whole steps from the bias. Adding and taking away 1.5 * 2^23 rounds to nearest, ties to even, as
/// nearbyint() does, but without a call; clamped first, the steps are small enough for it.
void group_steps(std::span<const float> group, const GroupCode& code, float levels, uint8_t* q) {
  constexpr float kRounder = 0x1.8p23F;
  for (size_t i = 0; i < group.size(); ++i) {
    float steps = (group[i] - code.bias) / code.scale;
    steps = steps > 0.0F ? steps : 0.0F;
    steps = steps < levels ? steps : levels;
    q[i] = static_cast<uint8_t>(static_cast<int32_t>((steps + kRounder) - kRounder));
  }
}

template <int Bits>
void quantize_groups(std::span<const float> row, size_t group, ScaleRule rule, std::span<uint32_t> words,
                     std::span<uint16_t> scales, std::span<uint16_t> biases) {
  constexpr auto kLevels = static_cast<float>((1 << Bits) - 1);
  std::array<uint8_t, 128> q;
  uint32_t* out = words.data();
  for (size_t g = 0; g < scales.size(); ++g, out += group * Bits / 32) {
    const auto values = row.subspan(g * group, group);
    const GroupCode code = group_code(values, kLevels, rule);
    group_steps(values, code, kLevels, q.data());
    pack<Bits>({q.data(), group}, out);
    scales[g] = float_to_bf16(code.scale);
    biases[g] = float_to_bf16(code.bias);
  }
}

/// The E8M0 code of a group whose largest magnitude is this.
uint8_t mxfp4_scale(float largest) {
  constexpr int kBias = 127;
  if (largest == 0.0F) return kBias;  // MLX's choice: any would do
  int exponent = 0;
  const float fraction = std::frexp(largest / kMaxE2m1, &exponent);  // in [0.5, 1) * 2^exponent
  if (fraction == 0.5F) --exponent;                                  // a power of two itself
  // Where the division has rounded down to one that is too small.
  if (std::ldexp(kMaxE2m1, exponent) < largest) ++exponent;
  return static_cast<uint8_t>(std::clamp(exponent + kBias, 0, 254));
}

uint8_t nearest_e2m1(float value) {
  constexpr std::array<float, 7> kBetween{0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
  const float size = std::fabs(value);
  uint8_t code = 0;
  for (const float between : kBetween) code = static_cast<uint8_t>(code + (size > between ? 1 : 0));
  return static_cast<uint8_t>(code | (value < 0 && code != 0 ? 8 : 0));
}

}  // namespace

void quantize_row_mxfp4(std::span<const float> row, std::span<uint32_t> words, std::span<uint8_t> scales) {
  constexpr size_t kGroup = 32;
  PROSA_CHECK(row.size() % kGroup == 0 && scales.size() == row.size() / kGroup && words.size() == row.size() / 8);
  std::array<uint8_t, kGroup> codes;
  for (size_t g = 0; g < scales.size(); ++g) {
    const auto group = row.subspan(g * kGroup, kGroup);
    const auto [low, high] = extremes_of(group);
    scales[g] = mxfp4_scale(std::max(std::fabs(low), std::fabs(high)));
    const float scale = e8m0_to_float(scales[g]);
    for (size_t i = 0; i < kGroup; ++i) codes[i] = nearest_e2m1(group[i] / scale);
    pack<4>(codes, words.data() + g * kGroup / 8);
  }
}

void pack_row(std::span<const uint8_t> q, int bits, std::span<uint32_t> words) {
  PROSA_CHECK(q.size() % 32 == 0 && words.size() == q.size() / 32 * static_cast<size_t>(bits));
  switch (bits) {
    case 2: return pack<2>(q, words.data());
    case 3: return pack<3>(q, words.data());
    case 4: return pack<4>(q, words.data());
    case 5: return pack<5>(q, words.data());
    case 6: return pack<6>(q, words.data());
    case 8: return pack<8>(q, words.data());
    default: PROSA_CHECK(!"bits of a quantized matrix");
  }
}

void quantize_row(std::span<const float> row, const WeightFormat& format, std::span<uint32_t> words,
                  std::span<uint16_t> scales, std::span<uint16_t> biases, ScaleRule rule) {
  PROSA_CHECK(format.coding == WeightCoding::affine && format.is_known() && format.type == DType::bf16);
  const auto group = static_cast<size_t>(format.group_size);
  PROSA_CHECK(row.size() % group == 0);
  PROSA_CHECK(scales.size() == row.size() / group && biases.size() == scales.size());
  PROSA_CHECK(words.size() == row.size() / 32 * static_cast<size_t>(format.bits));
  switch (format.bits) {
    case 2: return quantize_groups<2>(row, group, rule, words, scales, biases);
    case 3: return quantize_groups<3>(row, group, rule, words, scales, biases);
    case 4: return quantize_groups<4>(row, group, rule, words, scales, biases);
    case 5: return quantize_groups<5>(row, group, rule, words, scales, biases);
    case 6: return quantize_groups<6>(row, group, rule, words, scales, biases);
    case 8: return quantize_groups<8>(row, group, rule, words, scales, biases);
    default: PROSA_CHECK(!"bits of a quantized matrix");
  }
}

}  // namespace prosa::checkpoint
