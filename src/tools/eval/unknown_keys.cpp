// One sentence a key.
#include "tools/eval/unknown_keys.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace prosa::eval {

void UnknownKeys::look_at(const nlohmann::ordered_json& line, const std::string& where) {
  constexpr size_t kMaxNamed = 20;
  for (const auto& [key, value] : line.items()) {
    if (std::ranges::find(known_, key) != known_.end() || named_.size() >= kMaxNamed) continue;
    if (!named_.insert(key).second) continue;
    warnings_.push_back(fmt::format("{}: the key \"{}\" means nothing here and is not read (known: {})", where, key,
                                    fmt::join(known_, ", ")));
  }
}

}  // namespace prosa::eval
