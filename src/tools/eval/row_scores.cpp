// Sums over a row: blocks of kBlock, in each kLanes partial sums in float, over the blocks a sum in double.
#include "tools/eval/row_scores.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace prosa::eval {
namespace {

constexpr size_t kBlock = 256;
constexpr size_t kLanes = 8;
constexpr float kFiller = -3e38F;  // a logit of probability 0
constexpr float kDepth = -1e6F;    // how far below the largest logit of its row a logit may stand
// Below it KL is summed term by term; above it the difference of two logarithms is precise enough.
constexpr double kDirectKl = 0.05;

using Block = std::array<float, kBlock>;

/// The larger one; `low` for what is no number. A form that compilers turn into one instruction.
inline float at_least(float low, float x) { return x > low ? x : low; }

/// e^x for x <= 80, relative error about 1e-7; below -87 as at -87, which is nothing beside the largest logit's 1.
inline float exp_of(float x) {
  constexpr float kLowest = -87.0F, kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float clamped = at_least(kLowest, x);
  const float shifted = clamped * 1.44269504F + kRound;
  const float whole = shifted - kRound;
  const float r = (clamped - whole * 0.693359375F) + whole * 2.12194440e-4F;  // ln 2 in two parts
  float poly = 1.9875691500e-4F;
  poly = poly * r + 1.3981999507e-3F;
  poly = poly * r + 8.3334519073e-3F;
  poly = poly * r + 4.1665795894e-2F;
  poly = poly * r + 1.6666665459e-1F;
  poly = poly * r + 5.0000001201e-1F;
  poly = poly * r * r + r + 1.0F;
  return poly * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000U);
}

/// e^-c - 1 + c for |c| < kSmall, where the difference itself would lose its digits.
constexpr float kSmall = 0.125F;
inline float small_excess(float c) { return c * c * (0.5F - c * (1.0F / 6 - c * (1.0F / 24 - c * (1.0F / 120)))); }

inline double sum_of(const Block& block) {
  std::array<float, kLanes> lanes{};
  for (size_t i = 0; i < kBlock; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += block[i + lane];
  }
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

/// Block number `index` of a row: the row itself, or a copy of its end filled up with kFiller.
inline const float* block_of(std::span<const float> row, size_t index, Block& spare) {
  const size_t at = index * kBlock;
  if (at + kBlock <= row.size()) return row.data() + at;
  std::copy(row.begin() + static_cast<std::ptrdiff_t>(at), row.end(), spare.begin());
  std::fill(spare.begin() + static_cast<std::ptrdiff_t>(row.size() - at), spare.end(), kFiller);
  return spare.data();
}

inline size_t blocks_of(std::span<const float> row) { return (row.size() + kBlock - 1) / kBlock; }

inline float largest_of(const float* values) {
  std::array<float, kLanes> lanes;
  lanes.fill(values[0]);
  for (size_t i = 0; i < kBlock; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = at_least(lanes[lane], values[i + lane]);
    }
  }
  return *std::max_element(lanes.begin(), lanes.end());
}

inline bool all_finite(const float* values) {
  uint32_t broken = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint32_t exponent = std::bit_cast<uint32_t>(values[i]) & 0x7f800000U;
    broken |= exponent == 0x7f800000U ? 1U : 0U;
  }
  return broken == 0;
}

/// Two rows, a and b: each logit below the row's largest; one(a, b) of every place, summed and divided by sum e^a.
template <typename Term>
double mean_over(std::span<const float> x, float top_x, std::span<const float> y, float top_y, double sum_x,
                 const Term& one) {
  Block spare_x, spare_y, terms;
  double sum = 0;
  for (size_t index = 0; index < blocks_of(x); ++index) {
    const float* xs = block_of(x, index, spare_x);
    const float* ys = block_of(y, index, spare_y);
    for (size_t i = 0; i < kBlock; ++i)
      terms[i] = one(at_least(kDepth, xs[i] - top_x), at_least(kDepth, ys[i] - top_y));
    sum += sum_of(terms);
  }
  return sum / sum_x;
}

}  // namespace

RowScore score_row(std::span<const float> logits, int32_t truth) {
  PROSA_CHECK(truth >= 0 && static_cast<size_t>(truth) < logits.size());
  RowScore score;
  Block spare, terms;
  score.finite = true;
  score.top = kFiller;
  size_t best = 0;
  for (size_t index = 0; index < blocks_of(logits); ++index) {
    const float* values = block_of(logits, index, spare);
    score.finite = score.finite && all_finite(values);
    const float largest = largest_of(values);
    if (index == 0 || largest > score.top) score.top = largest, best = index;
  }
  if (!score.finite) return score;
  const auto from = logits.begin() + static_cast<std::ptrdiff_t>(best * kBlock);
  score.top1 = static_cast<int32_t>(std::find(from, logits.end(), score.top) - logits.begin());
  double sum = 0;
  for (size_t index = 0; index < blocks_of(logits); ++index) {
    const float* values = block_of(logits, index, spare);
    for (size_t i = 0; i < kBlock; ++i) terms[i] = exp_of(values[i] - score.top);
    sum += sum_of(terms);
  }
  score.log_sum = std::log(sum);
  score.nll =
      score.log_sum - (static_cast<double>(logits[static_cast<size_t>(truth)]) - static_cast<double>(score.top));
  return score;
}

// With a_i, b_i the rows' logits below their largest, d = a - b and s = mean of d under P:
//   KL(P || Q) = s + log(sum e^b) - log(sum e^a)  =  log(1 + mean under P of (e^-c - 1 + c)),  c = d - s.
// The first form subtracts numbers of the size of the logarithms, the second adds terms that are never negative.
double kl_of_rows(std::span<const float> reference, const RowScore& reference_score, std::span<const float> model,
                  const RowScore& model_score) {
  PROSA_CHECK(reference.size() == model.size() && reference_score.finite && model_score.finite);
  const double sum = std::exp(reference_score.log_sum);
  const auto mean = [&](const auto& one) {
    return mean_over(reference, reference_score.top, model, model_score.top, sum, one);
  };
  const double shift = mean([](float a, float b) { return exp_of(a) * (a - b); });
  const double direct = shift + model_score.log_sum - reference_score.log_sum;
  if (!(direct < kDirectKl)) return direct;
  const auto s = static_cast<float>(shift);
  return std::log1p(mean([s](float a, float b) {
    const float p = exp_of(a), c = (a - b) - s, magnitude = c < 0 ? -c : c;
    const float small = p * small_excess(c);
    const float large = exp_of(b + s) + p * (c - 1.0F);
    return magnitude < kSmall ? small : large;
  }));
}

}  // namespace prosa::eval
