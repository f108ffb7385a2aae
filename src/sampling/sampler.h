// From logits to the next token: penalties -> temperature -> top-k -> top-p -> min-p -> draw.
//
// Knows ids and numbers, no text. One Sampler serves one reply. Invariant: with equal config, seed and logits the same
// tokens come out on every machine (own random numbers, own exp, fixed summation order). No pass touches the whole
// vocabulary except the selection scan; penalties touch only ids that were seen.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "prosa/sampling.h"
#include "sampling/random.h"
#include "sampling/select.h"

namespace prosa::sampling {

/// Tokens the repetition penalty looks back.
inline constexpr size_t kRepetitionWindow = 64;

class Sampler {
 public:
  /// `config` is validated. `prompt`: the tokens before the reply.
  Sampler(const SamplingConfig& config, uint64_t seed, std::span<const int32_t> prompt);

  /// The next token. `logits` [vocab]: penalties change entries in place and are undone before this returns.
  /// A NaN or -inf logit is never chosen; Error(bad_checkpoint) when none is left or one is +inf: the model is broken.
  [[nodiscard]] int32_t sample(std::span<float> logits);

  /// Enters a token of the reply, sampled or forced, into the penalties.
  void accept(int32_t token);

 private:
  [[nodiscard]] int32_t choose(std::span<float> logits);
  void apply_penalties(std::span<float> logits);
  void remember(int32_t token);
  void keep_nucleus_sorted(double total);
  void keep_nucleus_by_id(double total, float best);
  [[nodiscard]] int32_t draw();

  SamplingConfig config_;
  CounterRandom random_;
  std::array<int32_t, kRepetitionWindow> window_{};  // a ring of the last tokens, the first `window_size_` valid
  size_t window_size_ = 0;
  size_t window_next_ = 0;
  std::unordered_map<int32_t, int32_t> reply_counts_;  // id -> occurrences in the reply

  std::vector<Candidate> unpenalized_;  // entries as they were before the penalties
  std::vector<Candidate> candidates_;   // reused between calls
  std::vector<Candidate> edge_;         // of these: where the nucleus ends
  std::vector<double> weights_;         // [candidates], exp((logit - best) / temperature)
};

/// e^x for x <= 0 in plain double arithmetic: same bits everywhere, relative error below 1e-15. 0 below -700.
double exp_of_nonpositive(double x) noexcept;

}  // namespace prosa::sampling
