// Input: a tool's JSON and what a model wrote between <tool_call> and </tool_call>. A call is whole or an error, and
// one that was cut off is never read as another than the one that was not.
#include "chat/tool_calls.h"

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/message_json.h"
#include "chat/template.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string clean = utf8::replace_invalid(text_of(data, size));
  const auto parts = parts_of(clean, 2);
  chat::ToolCallParser parser;
  error_of([&] {
    const Tool tool{std::string(parts[0])};
    if (!parts[0].empty()) parser = chat::ToolCallParser(std::span(&tool, 1));
  });
  const auto closed = parser.parse(parts[1], false);
  const auto open = parser.parse(parts[1], true);
  const auto* calls = std::get_if<std::vector<ToolCall>>(&closed);
  if (const auto* of_open = std::get_if<std::vector<ToolCall>>(&open)) {
    require(calls != nullptr && calls->size() == of_open->size(), "what is whole without its end is whole with it");
    for (size_t i = 0; i < calls->size(); ++i) {
      require((*calls)[i].name == (*of_open)[i].name && (*calls)[i].arguments == (*of_open)[i].arguments,
              "a cut off call says the same");
    }
  }
  if (calls == nullptr) return 0;
  require(!calls->empty(), "a block without a call is an error");
  // What a model wrote goes into the next prompt: that has to work whatever it was.
  const std::vector<Message> history = {{Role::user, "x"}, {Role::assistant, "", "", *calls}};
  const auto refused = error_of([&] {
    const auto json = chat::to_json(std::span(history));
    require(utf8::is_valid(chat::render(json, nlohmann::ordered_json(), {})), "a prompt is UTF-8");
  });
  require(!refused, "a call that was read can be told in the history", refused ? refused->what() : "");
  return 0;
}
