// The sampler's steps in their order. Probabilities are never normalised over the vocabulary: weights relative to the
// best token are enough for top-p, min-p and the draw.
#include "sampling/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::sampling {
namespace {

// With all tokens allowed, those e^-40 times less likely than the best are left out: even 2^20 of them together weigh
// less than 1e-11 of the best one, below what the draw can tell apart in practice.
constexpr double kNegligible = 40.0;

constexpr std::array<double, 14> kInverseFactorial = [] {
  std::array<double, 14> value{};
  double factorial = 1;
  for (size_t i = 0; i < value.size(); ++i) {
    if (i > 0) factorial *= static_cast<double>(i);
    value[i] = 1.0 / factorial;
  }
  return value;
}();

}  // namespace

double exp_of_nonpositive(double x) noexcept {
  if (!(x > -700.0)) return 0.0;
  // x = n ln2 + r with |r| <= ln2 / 2; ln2 in two parts keeps r exact.
  const auto n = static_cast<int64_t>(x * 1.4426950408889634074 - 0.5);
  const double turns = static_cast<double>(n);
  const double r = (x - turns * 6.93147180369123816490e-01) - turns * 1.90821492927058770002e-10;
  double sum = kInverseFactorial.back();  // Taylor in Horner form; the term after the last is below 2^-56
  for (size_t i = kInverseFactorial.size() - 1; i-- > 0;) sum = kInverseFactorial[i] + sum * r;
  return sum * std::bit_cast<double>(static_cast<uint64_t>(1023 + n) << 52);
}

Sampler::Sampler(const SamplingConfig& config, uint64_t seed, std::span<const int32_t> prompt)
    : config_(config), random_(seed) {
  const size_t seen = std::min(prompt.size(), kRepetitionWindow);
  for (const int32_t token : prompt.last(seen)) remember(token);
}

void Sampler::remember(int32_t token) {
  window_[window_next_] = token;
  window_next_ = (window_next_ + 1) % kRepetitionWindow;
  window_size_ = std::min(window_size_ + 1, kRepetitionWindow);
}

void Sampler::accept(int32_t token) {
  remember(token);
  ++reply_counts_[token];
}

void Sampler::apply_penalties(std::span<float> logits) {
  unpenalized_.clear();
  const auto in_range = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < logits.size(); };
  if (config_.repetition_penalty != 1.0F) {
    std::array<int32_t, kRepetitionWindow> ids = window_;
    std::sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(window_size_));
    for (size_t i = 0; i < window_size_; ++i) {
      if ((i > 0 && ids[i] == ids[i - 1]) || !in_range(ids[i])) continue;  // once per id
      float& logit = logits[static_cast<size_t>(ids[i])];
      unpenalized_.push_back({logit, ids[i]});
      logit = logit > 0 ? logit / config_.repetition_penalty : logit * config_.repetition_penalty;
    }
  }
  if (config_.presence_penalty != 0.0F || config_.frequency_penalty != 0.0F) {
    for (const auto& [id, count] : reply_counts_) {
      if (!in_range(id)) continue;
      unpenalized_.push_back({logits[static_cast<size_t>(id)], id});
      logits[static_cast<size_t>(id)] -=
          config_.presence_penalty + config_.frequency_penalty * static_cast<float>(count);
    }
  }
}

int32_t Sampler::sample(std::span<float> logits) {
  PROSA_CHECK(!logits.empty());
  apply_penalties(logits);
  const int32_t token = choose(logits);
  // Backwards: an entry that was penalised twice gets its first value back.
  for (size_t i = unpenalized_.size(); i-- > 0;)
    logits[static_cast<size_t>(unpenalized_[i].id)] = unpenalized_[i].logit;
  return token;
}

int32_t Sampler::choose(std::span<float> logits) {
  const bool greedy = config_.temperature == 0.0F;
  const bool limited = !greedy && config_.top_k > 0 && static_cast<size_t>(config_.top_k) < logits.size();
  if (limited) select_top_k(logits, config_.top_k, candidates_);
  const Candidate best = !limited              ? select_best(logits)
                         : candidates_.empty() ? Candidate{0.0F, -1}
                                               : candidates_.front();
  if (best.id < 0 || std::isinf(best.logit)) {
    throw Error(ErrorCode::bad_checkpoint, "the model's logits are not finite, so no next token can be chosen", {},
                "the weights are damaged or do not belong to this config.json");
  }
  if (greedy) return best.id;

  const double temperature = config_.temperature;
  if (!limited) {
    const double bound = best.logit - kNegligible * temperature;
    select_above(logits, static_cast<float>(std::max(bound, -3.0e38)), candidates_);
  }
  weights_.resize(candidates_.size());
  double total = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    weights_[i] = exp_of_nonpositive((static_cast<double>(candidates_[i].logit) - best.logit) / temperature);
    total += weights_[i];
  }
  if (config_.top_p < 1.0F) {
    if (limited) {
      keep_nucleus_sorted(total);
    } else {
      keep_nucleus_by_id(total, best.logit);
    }
  }
  return draw();
}

/// Leaves the shortest run of best candidates whose weights reach top_p of `total`. Candidates stand best first here.
void Sampler::keep_nucleus_sorted(double total) {
  const double target = total * config_.top_p;
  double sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += weights_[i];
    if (sum < target) continue;
    candidates_.resize(i + 1);
    weights_.resize(i + 1);
    return;
  }
}

/// The same for candidates in the order of their ids, which is kept. A histogram of the weights over the logits finds
/// the narrow range in which the run ends; only the candidates in that range are sorted.
void Sampler::keep_nucleus_by_id(double total, float best) {
  constexpr size_t kBuckets = 1024;
  float lowest = best;
  for (const Candidate& candidate : candidates_) lowest = std::min(lowest, candidate.logit);
  const double width = std::max((static_cast<double>(best) - lowest) / (kBuckets - 1), 1e-300);
  const auto bucket_of = [&](const Candidate& candidate) {
    return static_cast<size_t>((static_cast<double>(best) - candidate.logit) / width);
  };
  std::array<double, kBuckets> mass{};
  for (size_t i = 0; i < candidates_.size(); ++i)
    mass[std::min(bucket_of(candidates_[i]), kBuckets - 1)] += weights_[i];

  const double target = total * config_.top_p;
  double before = 0;
  size_t edge = 0;
  while (edge + 1 < kBuckets && before + mass[edge] < target) before += mass[edge++];

  edge_.clear();
  for (const Candidate& candidate : candidates_) {
    if (std::min(bucket_of(candidate), kBuckets - 1) == edge) edge_.push_back(candidate);
  }
  if (edge_.empty()) return;  // rounding left the sum a hair below the target: everything is kept
  std::sort(edge_.begin(), edge_.end(), better);
  Candidate last = edge_.back();
  for (const Candidate& candidate : edge_) {
    before += exp_of_nonpositive((static_cast<double>(candidate.logit) - best) / config_.temperature);
    if (before < target) continue;
    last = candidate;
    break;
  }
  size_t kept = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (better(last, candidates_[i])) continue;
    candidates_[kept] = candidates_[i];
    weights_[kept++] = weights_[i];
  }
  candidates_.resize(kept);
  weights_.resize(kept);
}

int32_t Sampler::draw() {
  // The best token's weight is 1, so min_p is a bound on the weight itself.
  double total = 0;
  for (const double weight : weights_) total += weight >= config_.min_p ? weight : 0.0;
  const double target = random_.next() * total;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] < config_.min_p || weights_[i] == 0.0) continue;
    sum += weights_[i];
    last = i;
    if (sum > target) break;
  }
  return candidates_[last].id;  // `last` also catches a sum that rounding left a hair below the target
}

}  // namespace prosa::sampling
