// From a row's best tokens to the next one: penalties -> temperature -> top-k -> top-p -> min-p -> draw.
//
// The sampler asks a row of logits a question (pick), wherever the row lies, and chooses from the answer (choose).
// Where a question cannot hold enough tokens (needs_row), it works on a copy of the row (sample). Both ways give the
// same token. Knows ids and numbers, no text. One Sampler serves one reply.
//
// It is a value: its state is the config, the seed and the tokens so far, nothing else. Choosing does not change it,
// accept() appends a token and rollback() takes tokens back; a copy goes on like its original. The random number for
// the n-th token of a reply depends on seed and n alone, so a token that is taken back and chosen again is the same.
// Invariant: with equal config, seed, tokens and logits the same token comes out on every machine (own random numbers,
// own exp, fixed summation order).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/candidates.h"
#include "prosa/sampling.h"
#include "sampling/random.h"

namespace prosa::sampling {

/// Tokens the repetition penalty looks back.
inline constexpr size_t kRepetitionWindow = 64;

/// The fields of SamplingConfig that choose a token, all of them set: with_defaults().
struct Settings {
  explicit Settings(const SamplingConfig& config);
  float temperature;
  int top_k;
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
};

class Sampler {
 public:
  /// `config` is validated; what it leaves unset is with_defaults(). `prompt`: the tokens before the reply. All tokens,
  /// here and in accept(), are ids of the vocabulary.
  Sampler(const SamplingConfig& config, uint64_t seed, std::span<const int32_t> prompt);

  /// The next token cannot be chosen from candidates: every token may be drawn, or more than a backend gives.
  [[nodiscard]] bool needs_row() const noexcept;
  /// What to ask the row of the next token, unless needs_row(). `allowed`: the ids to choose among, as in Pick. The
  /// answer's spans hold until the next call of a non-const function, and as long as `allowed`.
  [[nodiscard]] backend::Pick pick(std::span<const uint32_t> allowed = {});

  /// The next token, from the answer to pick(). Error(bad_checkpoint) when it holds no token, or an infinite logit: the
  /// model is broken.
  [[nodiscard]] int32_t choose(const backend::Candidates& answer);
  /// The next token, from a copy of the row [vocab], with every config. The row is used up: it holds the penalised and
  /// masked logits afterwards. A NaN or -inf logit is never chosen; errors as choose().
  [[nodiscard]] int32_t sample(std::span<float> row, std::span<const uint32_t> allowed = {});

  /// Appends a token of the reply, chosen or forced.
  void accept(int32_t token);
  /// Takes back the last n accepted tokens; n <= accepted().
  void rollback(size_t n);
  /// Tokens of the reply so far.
  [[nodiscard]] size_t accepted() const noexcept { return tokens_.size() - prompt_tail_; }

 private:
  struct Count {
    int32_t id = 0;
    int32_t times = 0;  // in the reply, at least 1
  };
  /// Buffers kept between calls for their memory alone. A copied sampler begins with empty ones.
  struct Scratch {
    Scratch() = default;
    Scratch(const Scratch&) noexcept {}
    Scratch& operator=(const Scratch&) noexcept { return *this; }
    std::vector<backend::LogitChange> changes;
    std::vector<backend::Candidate> candidates;
    std::vector<backend::Candidate> edge;  // of the candidates: where the nucleus ends
    std::vector<double> weights;           // [candidates], exp((logit - best) / temperature)
  };

  [[nodiscard]] bool is_greedy() const noexcept { return config_.temperature == 0.0F; }
  [[nodiscard]] bool counts_tokens() const noexcept {
    return config_.presence_penalty != 0.0F || config_.frequency_penalty != 0.0F;
  }
  std::span<const backend::LogitChange> find_changes();
  double weigh(float best);
  void keep_nucleus_sorted(double total);
  void keep_nucleus_by_id(double total, float best);
  [[nodiscard]] int32_t draw() const;

  Settings config_;
  CounterRandom random_;
  size_t prompt_tail_;           // tokens of the prompt that stand before the reply in `tokens_`
  std::vector<int32_t> tokens_;  // as much of the prompt's end as penalties may see, then the reply
  std::vector<Count> counts_;    // of the reply, by rising id; empty unless counts_tokens()
  Scratch scratch_;
};

/// e^x for x <= 0 in plain double arithmetic: same bits everywhere, relative error below 1e-15. 0 below -700.
double exp_of_nonpositive(double x) noexcept;

}  // namespace prosa::sampling
