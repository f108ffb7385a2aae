// generation_config.json: how the model's authors want it to be sampled. Its end tokens are read in config.cpp.
//
// Keys that are about other ways to generate (beams, lengths, caches) are not looked at.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/json_object.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

/// The value of one key into one field, unless it is one that SamplingConfig does not take.
template <typename T>
void read(const JsonObject& object, const char* key, std::optional<T> SamplingConfig::*field, SamplingConfig& config,
          std::vector<std::string>& warnings) {
  const nlohmann::json* value = object.find(key);
  if (value == nullptr) return;
  const auto leave_out = [&](const std::string& why) {
    warnings.push_back(object.where() + ": " + key + " " + value->dump() + " is left out: " + why);
  };
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (std::isnan(number)) return leave_out("it is no number");
  if (std::is_integral_v<T> && !value->is_number_integer()) return leave_out("it is no whole number");
  if (number > static_cast<double>(std::numeric_limits<T>::max()) ||
      number < static_cast<double>(std::numeric_limits<T>::lowest())) {
    return leave_out("it is too large");
  }
  SamplingConfig probe;
  probe.*field = static_cast<T>(number);
  try {
    validate(probe);
  } catch (const Error& error) {
    return leave_out(error.message());
  }
  config.*field = probe.*field;
}

}  // namespace

SamplingConfig read_sampling(const std::filesystem::path& folder, std::vector<std::string>& warnings) {
  SamplingConfig config;
  const std::filesystem::path file = folder / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return config;
  nlohmann::json document = read_json_object(file);
  const JsonGuard guard(document);
  const JsonObject object(document, file.string());
  read(object, "temperature", &SamplingConfig::temperature, config, warnings);
  read(object, "top_k", &SamplingConfig::top_k, config, warnings);
  read(object, "top_p", &SamplingConfig::top_p, config, warnings);
  read(object, "min_p", &SamplingConfig::min_p, config, warnings);
  read(object, "repetition_penalty", &SamplingConfig::repetition_penalty, config, warnings);
  read(object, "presence_penalty", &SamplingConfig::presence_penalty, config, warnings);
  read(object, "frequency_penalty", &SamplingConfig::frequency_penalty, config, warnings);
  // Greedy by name. A file that does not say it means sampling: many hold nothing but end tokens.
  if (!object.boolean("do_sample").value_or(true)) config.temperature = 0.0F;
  return config;
}

}  // namespace prosa::checkpoint
