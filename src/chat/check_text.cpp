// The walk over everything that holds text (check_text.h). Names of places are made only when something is wrong.
#include "chat/check_text.h"

#include <optional>

#include <fmt/format.h>

#include "chat/stop.h"
#include "prosa/error.h"
#include "prosa/text.h"

namespace prosa::chat {
namespace {

template <typename Where>
void check(std::string_view text, Where where) {
  const std::optional<size_t> at = find_invalid_utf8(text);
  if (!at) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("not UTF-8: byte 0x{:02x} at offset {}", static_cast<unsigned char>(text[*at]), *at), where(),
              "convert it to UTF-8");
}

}  // namespace

void check_text(std::string_view text, std::string_view where) {
  check(text, [&] { return std::string(where); });
}

void check_text(std::span<const Message> messages, std::string_view where) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    check(message.content, [&] { return fmt::format("{}[{}].content", where, i); });
    check(message.reasoning_content, [&] { return fmt::format("{}[{}].reasoning_content", where, i); });
    for (size_t j = 0; j < message.tool_calls.size(); ++j) {
      const ToolCall& call = message.tool_calls[j];
      check(call.name, [&] { return fmt::format("{}[{}].tool_calls[{}].name", where, i, j); });
      check(call.arguments, [&] { return fmt::format("{}[{}].tool_calls[{}].arguments", where, i, j); });
    }
  }
}

void check_text(std::span<const Tool> tools) {
  for (size_t i = 0; i < tools.size(); ++i) check(tools[i].json, [&] { return fmt::format("tools[{}]", i); });
}

void check_request(std::span<const Message> messages, const SamplingConfig& sampling, std::span<const Tool> tools) {
  validate(sampling);
  validate_stop_strings(sampling.stop);
  check(sampling.format.source, [] { return std::string("SamplingConfig.format"); });
  check(sampling.tool_choice.name, [] { return std::string("SamplingConfig.tool_choice"); });
  for (const auto& [name, value] : sampling.template_variables) {
    check(name, [] { return std::string("template_variables"); });
    check(value, [&, &variable = name] { return fmt::format("template_variables[\"{}\"]", variable); });
  }
  check_text(messages);
  check_text(tools);
}

}  // namespace prosa::chat
