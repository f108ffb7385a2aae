// validate(SamplingConfig): every field against its range, before a token is computed; and the defaults of what is not
// set. Holds no sampling.
//
// Comparisons are written so that NaN fails them.
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

/// A field that is not set is in its range.
template <typename T, typename InRange>
void require(const std::optional<T>& value, const char* field, const char* range, const InRange& in_range) {
  if (value) require(in_range(*value), field, *value, range);
}

void check(const SamplingConfig& config) {
  const auto penalty = [](float value) { return std::fabs(value) <= 100; };
  require(config.temperature, "temperature", "0 (greedy) or more, and finite",
          [](float value) { return value >= 0 && std::isfinite(value); });
  require(config.top_k, "top_k", "0 (all tokens) or more", [](int value) { return value >= 0; });
  require(config.top_p, "top_p", "in (0, 1]", [](float value) { return value > 0 && value <= 1; });
  require(config.min_p, "min_p", "in [0, 1)", [](float value) { return value >= 0 && value < 1; });
  require(config.max_tokens >= 1, "max_tokens", config.max_tokens, "1 or more");
  require(config.repetition_penalty, "repetition_penalty", "above 0 (1 is off), and finite",
          [](float value) { return value > 0 && std::isfinite(value); });
  require(config.presence_penalty, "presence_penalty", "in [-100, 100]", penalty);
  require(config.frequency_penalty, "frequency_penalty", "in [-100, 100]", penalty);
  require(config.max_thinking_tokens >= 0, "max_thinking_tokens", config.max_thinking_tokens, "0 or more");
  require(config.deadline_ms >= 0, "deadline_ms", static_cast<double>(config.deadline_ms), "0 (none) or more");
  for (size_t i = 0; i < config.stop.size(); ++i) {  // number and length: chat/stop.h
    if (config.stop[i].empty()) reject("stop", fmt::format("empty at index {}", i), "non-empty strings");
  }
}

/// prosa's own defaults. Greedy decoding has no penalty that nobody asked for.
SamplingConfig own_defaults(bool greedy) {
  SamplingConfig config;
  config.temperature = 0.6F;
  config.top_k = 50;
  config.top_p = 0.95F;
  config.min_p = 0.0F;
  config.repetition_penalty = greedy ? 1.0F : 1.1F;
  config.presence_penalty = 0.0F;
  config.frequency_penalty = 0.0F;
  return config;
}

/// The caller says greedy where the model does not: then the model's penalties, meant for its own way, are left out.
bool overrules_with_greedy(const SamplingConfig& asked, const SamplingConfig& of_model) {
  return asked.temperature == 0.0F && of_model.temperature != 0.0F;
}

/// Calls visit(name, member, whether it is a penalty) for each field that a model can have an opinion about.
template <typename Visit>
void for_each_field(Visit&& visit) {
  visit("temperature", &SamplingConfig::temperature, false);
  visit("top_k", &SamplingConfig::top_k, false);
  visit("top_p", &SamplingConfig::top_p, false);
  visit("min_p", &SamplingConfig::min_p, false);
  visit("repetition_penalty", &SamplingConfig::repetition_penalty, true);
  visit("presence_penalty", &SamplingConfig::presence_penalty, true);
  visit("frequency_penalty", &SamplingConfig::frequency_penalty, true);
}

/// Calls visit(name, value, source, member) for each.
template <typename Visit>
void settle(const SamplingConfig& asked, const SamplingConfig& of_model, Visit&& visit) {
  const bool overruled = overrules_with_greedy(asked, of_model);
  const std::optional<float> temperature = asked.temperature ? asked.temperature : of_model.temperature;
  const SamplingConfig own = own_defaults(temperature == 0.0F);
  for_each_field([&](std::string_view name, auto member, bool penalty) {
    if (asked.*member) return visit(name, *(asked.*member), "asked for", member);
    if (of_model.*member && !(penalty && overruled)) {
      return visit(name, *(of_model.*member), "generation_config.json", member);
    }
    visit(name, *(own.*member), "prosa's default", member);
  });
}

}  // namespace

SamplingConfig with_defaults(const SamplingConfig& asked, const SamplingConfig& of_model) {
  SamplingConfig result = asked;
  settle(asked, of_model, [&](std::string_view, auto value, std::string_view, auto member) { result.*member = value; });
  return result;
}

std::vector<SamplingValue> explain_sampling(const SamplingConfig& asked, const SamplingConfig& of_model) {
  std::vector<SamplingValue> values;
  settle(asked, of_model, [&](std::string_view name, auto value, std::string_view source, auto) {
    values.push_back({name, static_cast<double>(value), source});
  });
  return values;
}

void validate(const SamplingConfig& config) {
  at_boundary([&] { check(config); });
}

}  // namespace prosa
