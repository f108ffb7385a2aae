// Input: a folder's chat_template.jinja and tokenizer_config.json, and messages and tools as the `template` command
// takes them. A prompt is UTF-8, and the same twice.
#include "chat/template.h"

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/message_json.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 4);
  write_or_remove(folder() / "chat_template.jinja", parts[0]);
  write_or_remove(folder() / "tokenizer_config.json", parts[1]);
  chat::TemplateOptions options;
  error_of([&] { options.thinking_default = chat::read_thinking_default(folder()); });
  error_of([&] {
    const auto messages = chat::parse_json(parts[2], "messages");
    const auto tools = parts[3].empty() ? nlohmann::ordered_json() : chat::parse_json(parts[3], "tools");
    for (const std::optional<bool> thinking :
         {std::optional<bool>(), std::optional<bool>(true), std::optional<bool>(false)}) {
      options.enable_thinking = thinking;
      options.add_generation_prompt = thinking.has_value();
      const std::string prompt = chat::render(messages, tools, options);
      require(utf8::is_valid(prompt), "a prompt is UTF-8", prompt);
      require(prompt == chat::render(messages, tools, options), "a prompt is the same twice", prompt);
    }
  });
  return 0;
}
