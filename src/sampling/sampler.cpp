// The sampler's steps in their order. Probabilities are never normalised over the vocabulary: weights relative to the
// best token are enough for top-p, min-p and the draw.
#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::sampling {

using backend::Candidate;
using backend::LogitChange;

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

/// `best`: the best candidate, or null when there is none.
void require_finite(const Candidate* best, const Settings& config) {
  if (best != nullptr && !std::isinf(best->logit)) return;
  constexpr float kLeastHarmless = 1e-6F;  // a division by more leaves every logit of a sound model finite
  if (best != nullptr && config.repetition_penalty < kLeastHarmless) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("is {}, which makes a logit infinite", config.repetition_penalty),
                "SamplingConfig.repetition_penalty", "1 is off");
  }
  throw Error(ErrorCode::bad_checkpoint, "the model's logits are not finite, so no next token can be chosen", {},
              "the weights are damaged or do not belong to this config.json");
}

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

Settings::Settings(const SamplingConfig& config) {
  const SamplingConfig all = with_defaults(config);
  temperature = all.temperature.value();
  top_k = all.top_k.value();
  top_p = all.top_p.value();
  min_p = all.min_p.value();
  repetition_penalty = all.repetition_penalty.value();
  presence_penalty = all.presence_penalty.value();
  frequency_penalty = all.frequency_penalty.value();
}

Sampler::Sampler(const SamplingConfig& config, uint64_t seed, std::span<const int32_t> prompt)
    : config_(config), random_(seed), prompt_tail_(std::min(prompt.size(), kRepetitionWindow)) {
  const auto tail = prompt.last(prompt_tail_);
  tokens_.assign(tail.begin(), tail.end());
}

void Sampler::accept(int32_t token) {
  tokens_.push_back(token);
  if (!counts_tokens()) return;
  const auto at = std::lower_bound(counts_.begin(), counts_.end(), token,
                                   [](const Count& count, int32_t id) { return count.id < id; });
  if (at != counts_.end() && at->id == token) {
    ++at->times;
  } else {
    counts_.insert(at, {token, 1});
  }
}

void Sampler::rollback(size_t n) {
  PROSA_CHECK(n <= accepted());
  for (; n > 0; --n) {
    const int32_t token = tokens_.back();
    tokens_.pop_back();
    if (!counts_tokens()) continue;
    const auto at = std::lower_bound(counts_.begin(), counts_.end(), token,
                                     [](const Count& count, int32_t id) { return count.id < id; });
    if (--at->times == 0) counts_.erase(at);
  }
}

/// The penalties as changes of single logits: two lists of rising ids, merged.
std::span<const LogitChange> Sampler::find_changes() {
  std::vector<LogitChange>& changes = scratch_.changes;
  changes.clear();
  std::array<int32_t, kRepetitionWindow> window{};
  size_t repeated = 0;
  if (config_.repetition_penalty != 1.0F) {
    const std::span last = std::span(tokens_).last(std::min(tokens_.size(), kRepetitionWindow));
    std::copy(last.begin(), last.end(), window.begin());
    const auto end = window.begin() + static_cast<std::ptrdiff_t>(last.size());
    std::sort(window.begin(), end);
    repeated = static_cast<size_t>(std::unique(window.begin(), end) - window.begin());
  }
  size_t next = 0;
  for (const Count& count : counts_) {
    for (; next < repeated && window[next] < count.id; ++next) {
      changes.push_back({window[next], config_.repetition_penalty, 0.0F});
    }
    LogitChange change{count.id, 1.0F, 0.0F};
    if (next < repeated && window[next] == count.id) {
      change.penalty = config_.repetition_penalty;
      ++next;
    }
    change.add = -(config_.presence_penalty + config_.frequency_penalty * static_cast<float>(count.times));
    changes.push_back(change);
  }
  for (; next < repeated; ++next) changes.push_back({window[next], config_.repetition_penalty, 0.0F});
  return changes;
}

bool Sampler::needs_row() const noexcept {
  return !is_greedy() && (config_.top_k == 0 || config_.top_k > backend::kMaxCandidates);
}

backend::Pick Sampler::pick(std::span<const uint32_t> allowed) {
  PROSA_CHECK(!needs_row());
  return {find_changes(), allowed, is_greedy() ? 1 : config_.top_k, false};
}

int32_t Sampler::choose(const backend::Candidates& answer) {
  require_finite(answer.best.empty() ? nullptr : &answer.best.front(), config_);
  if (is_greedy()) return answer.best.front().id;
  scratch_.candidates = answer.best;
  const double total = weigh(answer.best.front().logit);
  if (config_.top_p < 1.0F) keep_nucleus_sorted(total);
  return draw();
}

int32_t Sampler::sample(std::span<float> row, std::span<const uint32_t> allowed) {
  PROSA_CHECK(!row.empty());
  for (const LogitChange& change : find_changes()) {
    float& logit = row[static_cast<size_t>(change.id)];
    logit = change.of(logit);
  }
  for (size_t id = 0; id < row.size() && !allowed.empty(); ++id) {
    if ((allowed[id / 32] >> (id % 32) & 1U) == 0) row[id] = -std::numeric_limits<float>::infinity();
  }
  const bool by_id = needs_row() && (config_.top_k == 0 || static_cast<size_t>(config_.top_k) >= row.size());
  std::vector<Candidate>& candidates = scratch_.candidates;
  if (is_greedy() || by_id) {
    candidates.assign(1, backend::select_best(row));
    if (candidates.front().id < 0) candidates.clear();
  } else {
    backend::select_top_k(row, config_.top_k, candidates);
  }
  require_finite(candidates.empty() ? nullptr : &candidates.front(), config_);
  const Candidate best = candidates.front();
  if (is_greedy()) return best.id;

  if (by_id) {
    const double bound = best.logit - kNegligible * static_cast<double>(config_.temperature);
    backend::select_above(row, static_cast<float>(std::max(bound, -3.0e38)), candidates);
  }
  const double total = weigh(best.logit);
  if (config_.top_p < 1.0F) {
    if (by_id) {
      keep_nucleus_by_id(total, best.logit);
    } else {
      keep_nucleus_sorted(total);
    }
  }
  return draw();
}

/// Fills the candidates' weights, relative to the best one's; their sum.
double Sampler::weigh(float best) {
  const std::vector<Candidate>& candidates = scratch_.candidates;
  scratch_.weights.resize(candidates.size());
  double total = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    scratch_.weights[i] = exp_of_nonpositive((static_cast<double>(candidates[i].logit) - best) / config_.temperature);
    total += scratch_.weights[i];
  }
  return total;
}

/// Leaves the shortest run of best candidates whose weights reach top_p of `total`. Candidates stand best first here.
void Sampler::keep_nucleus_sorted(double total) {
  const double target = total * config_.top_p;
  double sum = 0;
  for (size_t i = 0; i < scratch_.candidates.size(); ++i) {
    sum += scratch_.weights[i];
    if (sum < target) continue;
    scratch_.candidates.resize(i + 1);
    scratch_.weights.resize(i + 1);
    return;
  }
}

/// The same for candidates in the order of their ids, which is kept. A histogram of the weights over the logits finds
/// the narrow range in which the run ends; only the candidates in that range are sorted.
void Sampler::keep_nucleus_by_id(double total, float best) {
  constexpr size_t kBuckets = 1024;
  float lowest = best;
  for (const Candidate& candidate : scratch_.candidates) lowest = std::min(lowest, candidate.logit);
  const double width = std::max((static_cast<double>(best) - lowest) / (kBuckets - 1), 1e-300);
  const auto bucket_of = [&](const Candidate& candidate) {
    return static_cast<size_t>((static_cast<double>(best) - candidate.logit) / width);
  };
  std::array<double, kBuckets> mass{};
  for (size_t i = 0; i < scratch_.candidates.size(); ++i)
    mass[std::min(bucket_of(scratch_.candidates[i]), kBuckets - 1)] += scratch_.weights[i];

  const double target = total * config_.top_p;
  double before = 0;
  size_t edge = 0;
  while (edge + 1 < kBuckets && before + mass[edge] < target) before += mass[edge++];

  scratch_.edge.clear();
  for (const Candidate& candidate : scratch_.candidates) {
    if (std::min(bucket_of(candidate), kBuckets - 1) == edge) scratch_.edge.push_back(candidate);
  }
  if (scratch_.edge.empty()) return;  // rounding left the sum a hair below the target: everything is kept
  std::sort(scratch_.edge.begin(), scratch_.edge.end(), backend::better);
  Candidate last = scratch_.edge.back();
  for (const Candidate& candidate : scratch_.edge) {
    before += exp_of_nonpositive((static_cast<double>(candidate.logit) - best) / config_.temperature);
    if (before < target) continue;
    last = candidate;
    break;
  }
  size_t kept = 0;
  for (size_t i = 0; i < scratch_.candidates.size(); ++i) {
    if (backend::better(last, scratch_.candidates[i])) continue;
    scratch_.candidates[kept] = scratch_.candidates[i];
    scratch_.weights[kept++] = scratch_.weights[i];
  }
  scratch_.candidates.resize(kept);
  scratch_.weights.resize(kept);
}

int32_t Sampler::draw() const {
  // The best token's weight is 1, so min_p is a bound on the weight itself.
  double total = 0;
  for (const double weight : scratch_.weights) total += weight >= config_.min_p ? weight : 0.0;
  const double target = random_.at(accepted()) * total;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < scratch_.weights.size(); ++i) {
    if (scratch_.weights[i] < config_.min_p || scratch_.weights[i] == 0.0) continue;
    sum += scratch_.weights[i];
    last = i;
    if (sum > target) break;
  }
  return scratch_.candidates[last].id;  // `last` also catches a sum that rounding left a hair below the target
}

}  // namespace prosa::sampling
