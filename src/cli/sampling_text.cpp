// Values of one source stand together, in the order in which the sources first come up.
#include "cli/sampling_text.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace prosa::cli {

std::string sampling_text(const std::vector<SamplingValue>& values) {
  std::vector<std::pair<std::string_view, std::string>> groups;  // source -> its values
  for (const SamplingValue& value : values) {
    const std::string text = fmt::format("{} {:.6g}", value.name, value.value);
    const auto same = std::ranges::find(groups, value.source, &std::pair<std::string_view, std::string>::first);
    if (same == groups.end()) {
      groups.emplace_back(value.source, text);
    } else {
      same->second += ", " + text;
    }
  }
  std::string all;
  for (const auto& [source, text] : groups) all += fmt::format("{}{} ({})", all.empty() ? "" : "; ", text, source);
  return all;
}

}  // namespace prosa::cli
