// Input: messages and tools of an API request. What is accepted comes back from JSON as it went there, and renders to
// the same prompt on both ways through the official template, whose control tokens are those that the template wrote.
#include "chat/message_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/template.h"
#include "fuzz.h"
#include "tokenizer/tokenizer.h"

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

int64_t count_controls(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  return std::ranges::count_if(ids, [&](int32_t id) { return tokenizer.is_control(id); });
}

/// The control tokens of a prompt are those that the template wrote.
void check_controls(const MarkedText& prompt) {
  static const Tokenizer tokenizer = Tokenizer::load_file(PROSA_TEST_DATA "/tiny-chat/tokenizer.json");
  int64_t written = 0;
  size_t at = 0;
  const std::string_view text = prompt.text();
  const auto count = [&](size_t end) {
    written += count_controls(tokenizer, tokenizer.encode(text.substr(at, end - at)));
  };
  for (const MarkedText::Range& given : prompt.given()) {
    count(given.begin);
    at = given.end;
  }
  count(text.size());
  require(count_controls(tokenizer, tokenizer.encode(prompt)) == written, "no message becomes a control token", text);
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
    const MarkedText marked = chat::render_marked(json, tools_json, {});
    const std::string& prompt = marked.text();
    check_controls(marked);
    require(utf8::is_valid(prompt), "a prompt is UTF-8", prompt);
    require(prompt == chat::render(chat::parse_json(json.dump(), "messages"), tools_json, {}),
            "JSON that was written and read again renders to the same prompt", prompt);
  });
  return 0;
}
