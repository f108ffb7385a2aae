// Input: an override of `convert` and a matrix name to match, the name of a model, and arguments of the shared options,
// one a line. Wrong ones are refused by name; right ones give options that hold.
#include <CLI/CLI.hpp>

#include "checkpoint/convert_rules.h"
#include "cli/options.h"
#include "fuzz.h"
#include "hub/name.h"
#include "prosa/sampling.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

void check_override(std::string_view text, std::string_view name) {
  error_of([&] {
    const auto rule = checkpoint::FormatOverride::parse(text, 64);
    require(rule.text() == text, "an override keeps its text", text);
    require(rule.format().is_known(), "an override's format is known", text);
    require(rule.matches(name) == rule.matches(name), "a match is the same twice");
  });
}

void check_name(const std::string& text) {
  (void)cli::meaning_of(text);
  const auto name = hub::parse_hub_name(text);
  if (!name) return;
  const auto again = hub::parse_hub_name(name->text());
  require(again && again->text() == name->text(), "a name survives", text);
  for (const std::string& part : {name->owner, name->name, name->subfolder, name->revision}) {
    require(part.find("..") == std::string::npos || part.find('/') == std::string::npos ||
                ("/" + part + "/").find("/../") == std::string::npos,
            "a name leads out of no folder", text);
  }
}

void check_arguments(std::string_view lines) {
  CLI::App app;
  LoadOptions load;
  SamplingConfig sampling;
  cli::add_load_options(app, load, true);
  cli::add_sampling_options(app, sampling);
  std::vector<std::string> arguments;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    arguments.emplace_back(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError&) {
    return;
  }
  require(load.threads >= 0 && load.threads <= 1024 && load.context >= 1, "load options are in their range");
  const auto refused = error_of([&] { validate(sampling); });
  if (refused) return;
  sampling = with_defaults(sampling);
  require(sampling.temperature >= 0 && sampling.top_p > 0 && sampling.top_p <= 1 && sampling.min_p >= 0 &&
              sampling.min_p < 1 && sampling.repetition_penalty > 0 && sampling.max_tokens >= 0 &&
              sampling.deadline_ms >= 0,
          "sampling options are in their range");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 4);
  check_override(parts[0], parts[1]);
  check_name(std::string(parts[2]));
  check_arguments(parts[3]);
  return 0;
}
