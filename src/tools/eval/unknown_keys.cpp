// One sentence a key.
#include "tools/eval/unknown_keys.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace prosa::eval {

namespace {

// "name" and "tool_call_id" tell a client's calls apart; calls and answers here go by their order.
constexpr std::array<std::string_view, 6> kMessageKeys = {"role",       "content", "reasoning_content",
                                                          "tool_calls", "name",    "tool_call_id"};

}  // namespace

void UnknownKeys::look_at(const nlohmann::ordered_json& line, const std::string& where) {
  look_at_object(line, "", where, known_);
  const auto messages = line.find("messages");
  if (messages == line.end() || !messages->is_array() || std::ranges::find(known_, "messages") == known_.end()) return;
  for (size_t i = 0; i < messages->size(); ++i) {
    const auto& message = (*messages)[i];
    if (message.is_object())
      look_at_object(message, "a message's ", fmt::format("{}: messages[{}]", where, i), kMessageKeys);
  }
}

void UnknownKeys::look_at_object(const nlohmann::ordered_json& object, std::string_view whose, const std::string& where,
                                 std::span<const std::string_view> known) {
  constexpr size_t kMaxNamed = 20;
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) != known.end() || named_.size() >= kMaxNamed) continue;
    if (!named_.insert(std::string(whose) + key).second) continue;
    warnings_.push_back(fmt::format("{}: the key \"{}\" means nothing here and is not read (known: {})", where, key,
                                    fmt::join(known, ", ")));
  }
}

}  // namespace prosa::eval
