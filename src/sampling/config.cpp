// validate(SamplingConfig): every field against its range, before a token is computed. Holds no sampling.
//
// Comparisons are written so that NaN fails them.
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "base/boundary.h"
#include "prosa/error.h"
#include "prosa/sampling.h"

namespace prosa {
namespace {

[[noreturn]] void reject(const char* field, const std::string& found, const char* range) {
  throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be {}", found, range),
              std::string("SamplingConfig.") + field);
}

void require(bool ok, const char* field, double value, const char* range) {
  if (!ok) reject(field, fmt::format("{}", value), range);
}

}  // namespace

namespace {

void check(const SamplingConfig& config) {
  require(config.temperature >= 0 && std::isfinite(config.temperature), "temperature", config.temperature,
          "0 (greedy) or more, and finite");
  require(config.top_k >= 0, "top_k", config.top_k, "0 (all tokens) or more");
  require(config.top_p > 0 && config.top_p <= 1, "top_p", config.top_p, "in (0, 1]");
  require(config.min_p >= 0 && config.min_p < 1, "min_p", config.min_p, "in [0, 1)");
  require(config.max_tokens >= 1, "max_tokens", config.max_tokens, "1 or more");
  require(config.repetition_penalty > 0 && std::isfinite(config.repetition_penalty), "repetition_penalty",
          config.repetition_penalty, "above 0 (1 is off), and finite");
  require(std::fabs(config.presence_penalty) <= 100, "presence_penalty", config.presence_penalty, "in [-100, 100]");
  require(std::fabs(config.frequency_penalty) <= 100, "frequency_penalty", config.frequency_penalty, "in [-100, 100]");
  require(config.max_thinking_tokens >= 0, "max_thinking_tokens", config.max_thinking_tokens, "0 or more");
  require(config.deadline_ms >= 0, "deadline_ms", static_cast<double>(config.deadline_ms), "0 (none) or more");
  for (size_t i = 0; i < config.stop.size(); ++i) {  // number and length: chat/stop.h
    if (config.stop[i].empty()) reject("stop", fmt::format("empty at index {}", i), "non-empty strings");
  }
}

}  // namespace

void validate(const SamplingConfig& config) {
  at_boundary([&] { check(config); });
}

}  // namespace prosa
