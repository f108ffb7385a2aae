// What a sampler asks of a row of logits, and the answer: the few best tokens, so that no vocabulary crosses the seam.
//
// The rules hold for every backend: changes come first (penalties, then the addition), then the mask, then the choice.
// Order of tokens: higher logit first, of equal ones the lower id. NaN and -inf are never candidates. The functions
// below are the host's implementation of it, for backends whose rows lie in host memory. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace prosa::backend {

struct Candidate {
  float logit = 0;  // after the changes
  int32_t id = 0;
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

inline bool better(const Candidate& a, const Candidate& b) noexcept {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// One id's logit x becomes (x > 0 ? x / penalty : x * penalty) + add: the repetition penalty of CTRL
/// (arXiv:1909.05858), then what presence and frequency penalties and a logit bias add together.
struct LogitChange {
  int32_t id = 0;
  float penalty = 1;  // > 0; 1: none
  float add = 0;
  [[nodiscard]] float of(float logit) const noexcept {
    if (penalty != 1.0F) logit = logit > 0 ? logit / penalty : logit * penalty;
    return add != 0.0F ? logit + add : logit;
  }
  friend bool operator==(const LogitChange&, const LogitChange&) = default;
};

/// The most candidates that a backend must be able to give; whoever wants more takes the row itself (Backend::logits).
inline constexpr int64_t kMaxCandidates = 256;

/// A question to one row. The spans live as long as the call.
struct Pick {
  std::span<const LogitChange> changes = {};  // ids distinct and rising, each in [0, vocab)
  std::span<const uint32_t> allowed = {};     // bit i % 32 of word i / 32: id i may be chosen; empty: every id
  int64_t k = 1;                              // in [1, kMaxCandidates]
  bool log_sum = false;                       // whether the answer's log_sum is wanted; it costs a pass over the row
};

struct Candidates {
  std::vector<Candidate> best;  // at most k, the best first; fewer where fewer are finite and allowed
  /// Natural logarithm of the sum of exp(logit) over all allowed ids, after the changes: log p(id) = logit - log_sum.
  /// Within about 1e-6. 0 when not asked for; -inf when `best` is empty; +inf when a logit is.
  double log_sum = 0;
};

/// The answer to `pick` from a row [vocab] in host memory, which is read, not changed. Its bits, log_sum's too, are the
/// same on every machine.
void pick_candidates(std::span<const float> logits, const Pick& pick, Candidates& answer);

/// The best token of a row; id -1 when no logit is above -inf.
Candidate select_best(std::span<const float> logits) noexcept;

/// The k best, best first (fewer when fewer are above -inf).
void select_top_k(std::span<const float> logits, int64_t k, std::vector<Candidate>& out);

/// All tokens with a logit >= bound, by id. `bound` must be above -inf.
void select_above(std::span<const float> logits, float bound, std::vector<Candidate>& out);

}  // namespace prosa::backend
