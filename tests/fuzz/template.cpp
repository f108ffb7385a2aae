// Input: a folder's chat_template.jinja and tokenizer_config.json, messages and tools as the `template` command takes
// them, and an object of variables. A prompt is UTF-8, and the same twice; the fast way writes what the interpreter
// writes; a template ends, whatever it says.
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/chat_template.h"
#include "chat/message_json.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

/// The marks are places of the text, rise, and part no character.
void check(const MarkedText& prompt) {
  const std::string& text = prompt.text();
  require(utf8::is_valid(text), "a prompt is UTF-8", text);
  size_t before = 0;
  for (const auto& [begin, end] : prompt.given()) {
    require(begin < end && end <= text.size() && (begin > before || before == 0), "marks rise", text);
    const auto whole = [&](size_t at) {
      return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U;
    };
    require(whole(begin) && whole(end), "marks part no character", text);
    before = end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 5);
  write_or_remove(folder() / "chat_template.jinja", parts[0]);
  write_or_remove(folder() / "tokenizer_config.json", parts[1]);
  error_of([&] {
    const auto messages = chat::parse_json(parts[2], "messages");
    const auto tools = parts[3].empty() ? nlohmann::ordered_json() : chat::parse_json(parts[3], "tools");
    chat::RenderOptions options;
    if (!parts[4].empty()) options.variables = chat::parse_json(parts[4], "variables");
    if (!options.variables.is_object()) return;
    // A template that cannot be read leaves the native one to be tried.
    chat::ChatTemplate chat_template;
    error_of([&] { chat_template = chat::ChatTemplate::load(folder()); });
    const bool tells_time =
        parts[0].find("strftime") != std::string_view::npos || parts[1].find("strftime") != std::string_view::npos;
    const auto interpreted = chat_template.interpreted();
    for (const std::optional<bool> thinking :
         {std::optional<bool>(), std::optional<bool>(true), std::optional<bool>(false)}) {
      options.enable_thinking = thinking;
      options.add_generation_prompt = thinking.has_value();
      options.continue_final_message = thinking == false;
      std::optional<MarkedText> prompt;
      error_of([&] { prompt = chat_template.render(messages, tools, options); });
      if (prompt) check(*prompt);
      if (tells_time || !prompt) continue;
      require(prompt->text() == chat_template.render(messages, tools, options).text(), "a prompt is the same twice",
              prompt->text());
      if (!interpreted || !chat_template.is_native()) continue;
      require(prompt->text() == interpreted->render(messages, tools, options).text(),
              "the fast way writes what the interpreter writes", prompt->text());
    }
  });
  return 0;
}
