// Finding the few best of many logits without sorting them: the scans under the sampler.
//
// Order of tokens everywhere: higher logit first, of equal ones the lower id. NaN and -inf are never selected. Pure
// functions; the loops are written over fixed lanes so that any compiler makes them SIMD.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace prosa::sampling {

struct Candidate {
  float logit;
  int32_t id;
};

inline bool better(const Candidate& a, const Candidate& b) noexcept {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// The best token; id -1 when no logit is above -inf.
Candidate select_best(std::span<const float> logits) noexcept;

/// The k best, best first (fewer when fewer are above -inf).
void select_top_k(std::span<const float> logits, int64_t k, std::vector<Candidate>& out);

/// All tokens with a logit >= bound, by id. `bound` must be above -inf.
void select_above(std::span<const float> logits, float bound, std::vector<Candidate>& out);

}  // namespace prosa::sampling
