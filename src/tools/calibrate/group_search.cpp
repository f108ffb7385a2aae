// The search: MLX's rule, ranges shrunk step by step, and least squares through the codes.
#include "tools/calibrate/group_search.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/bf16.h"
#include "checkpoint/quantize.h"

namespace prosa::calibrate {
namespace {

constexpr int kShrinks = 12;      // ranges tried, each narrower than the one before
constexpr float kShrink = 0.04F;  // by so much of the whole range
constexpr int kLines = 2;         // lines fitted to the codes of the best range, each with new codes

struct Trial {
  GroupCode code;
  float error = 0;
};

Trial try_code(std::span<const float> values, std::span<const float> weights, float levels, float scale, float bias) {
  Trial trial{{bf16_rounded(scale), bf16_rounded(bias)}, 0};
  if (trial.code.scale == 0 || !std::isfinite(trial.code.scale) || !std::isfinite(trial.code.bias)) {
    trial.error = HUGE_VALF;
    return trial;
  }
  std::array<float, 16> sums{};
  for (size_t i = 0; i < values.size(); i += sums.size()) {
    for (size_t lane = 0; lane < sums.size(); ++lane) {
      const float off = values[i + lane] - trial.code.value(trial.code.code(values[i + lane], levels));
      sums[lane] += weights[i + lane] * off * off;
    }
  }
  for (const float sum : sums) trial.error += sum;
  return trial;
}

/// The line through (code, value) with the least weighted error.
Trial fit_line(std::span<const float> values, std::span<const float> weights, float levels, const GroupCode& from) {
  double w = 0, wq = 0, wqq = 0, wv = 0, wqv = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double weight = weights[i];
    const double q = from.code(values[i], levels);
    w += weight;
    wq += weight * q;
    wqq += weight * q * q;
    wv += weight * values[i];
    wqv += weight * q * values[i];
  }
  const double spread = w * wqq - wq * wq;
  if (!(spread > 1e-12 * w * wqq)) return {from, HUGE_VALF};
  const double scale = (w * wqv - wq * wv) / spread;
  return try_code(values, weights, levels, static_cast<float>(scale), static_cast<float>((wv - scale * wq) / w));
}

}  // namespace

GroupCode search_group(std::span<const float> values, std::span<const float> weights, int bits) {
  const auto levels = static_cast<float>((1 << bits) - 1);
  std::array<uint32_t, kMaxGroup * 8 / 32> words;
  uint16_t scale = 0;
  uint16_t bias = 0;
  checkpoint::quantize_row(values, WeightFormat::affine(bits, static_cast<int>(values.size())),
                           std::span(words).first(values.size() * static_cast<size_t>(bits) / 32), {&scale, 1},
                           {&bias, 1}, checkpoint::ScaleRule::divided);
  Trial best = try_code(values, weights, levels, bf16_to_float(scale), bf16_to_float(bias));
  const auto [low, high] = std::ranges::minmax(values);
  const float range = high - low;
  if (!(range > 0)) return best.code;
  const auto take = [&](const Trial& trial) {
    if (trial.error < best.error) best = trial;
  };
  for (int step = 0; step < kShrinks; ++step) {
    const float cut = 0.5F * kShrink * range * static_cast<float>(step);
    take(try_code(values, weights, levels, (range - 2 * cut) / levels, low + cut));
  }
  for (int line = 0; line < kLines; ++line) take(fit_line(values, weights, levels, best.code));
  return best.code;
}

}  // namespace prosa::calibrate
