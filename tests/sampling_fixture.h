// What the tests of the sampler share: rows of logits, and short ways to ask for a token.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "prosa/error.h"
#include "prosa/sampling.h"
#include "sampling/sampler.h"

namespace prosa::sampling {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Everything on, nothing penalised.
inline SamplingConfig plain() {
  SamplingConfig config;
  config.repetition_penalty = 1.0F;
  return config;
}

inline std::vector<float> random_logits(size_t size, uint64_t seed, float spread = 8.0F) {
  CounterRandom random(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) {
    logit = spread * static_cast<float>(random.next() + random.next() + random.next() - 1.5);
  }
  return logits;
}

/// The code of the Error that `call` throws.
inline std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

/// The next token, from the whole row.
inline int32_t sample(Sampler& sampler, std::vector<float> row) { return sampler.sample(row); }

}  // namespace prosa::sampling
