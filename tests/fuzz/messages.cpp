// Input: messages and tools of an API request. What is accepted comes back from JSON as it went there, and renders to
// the same prompt on both ways through the official template.
#include "chat/message_json.h"

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/template.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

bool same(const Message& a, const Message& b) {
  const auto same_call = [](const ToolCall& x, const ToolCall& y) {
    return x.name == y.name && x.arguments == y.arguments;
  };
  return a.role == b.role && a.content == b.content && a.reasoning_content == b.reasoning_content &&
         std::equal(a.tool_calls.begin(), a.tool_calls.end(), b.tool_calls.begin(), b.tool_calls.end(), same_call);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 2);
  error_of([&] {
    const std::vector<Message> messages = chat::messages_from_json(chat::parse_json(parts[0], "messages"));
    const std::vector<Tool> tools =
        parts[1].empty() ? std::vector<Tool>() : chat::tools_from_json(chat::parse_json(parts[1], "tools"));
    const auto json = chat::to_json(messages);
    const auto refused = error_of([&] {
      const std::vector<Message> again = chat::messages_from_json(chat::parse_json(json.dump(), "messages"));
      require(std::equal(messages.begin(), messages.end(), again.begin(), again.end(), same), "messages come back",
              json.dump());
    });
    require(!refused, "messages that were read can be read again", refused ? refused->what() : "");
    const auto tools_json = chat::to_json(tools);
    const std::string prompt = chat::render(json, tools_json, {});
    require(utf8::is_valid(prompt), "a prompt is UTF-8", prompt);
    require(prompt == chat::render(chat::parse_json(json.dump(), "messages"), tools_json, {}),
            "JSON that was written and read again renders to the same prompt", prompt);
  });
  return 0;
}
