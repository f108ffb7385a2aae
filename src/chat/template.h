// The Qwen3.5 chat template, written natively: JSON messages and tools in, the prompt text out, byte-equal to what the
// official Jinja template renders, errors included.
//
// Not a Jinja engine: it knows this one text, in its two variants. Which template a folder has is read, and chosen, by
// ChatTemplate (chat_template.h). Pure functions, no state.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "tokenizer/marked_text.h"

namespace prosa::chat {

/// The variants: what enable_thinking unset means. `off` is the small models'.
enum class ThinkingDefault { on, off };

struct TemplateOptions {
  ThinkingDefault thinking_default = ThinkingDefault::off;
  std::optional<bool> enable_thinking;  // unset: the variant's default
  bool add_generation_prompt = true;
};

/// `messages`: array of {"role", "content": string | null | list of parts, "reasoning_content"?, "tool_calls"?}.
/// `tools`: array or null. Key order of objects is kept (ordered_json): it shows in the prompt.
/// Nesting must be bounded: JSON from outside goes through parse_json (message_json.h). Integers beyond 64 bits are
/// floats to the JSON library and print as such.
/// Error(bad_template) with the official template's own message where it raises.
///
/// What the template writes is written; what comes from messages and tools (contents, thoughts, names, arguments, whole
/// tool definitions) is given, also where the template looks into it (a thought it finds in a content, a content that
/// begins like a tool's answer): for Tokenizer::encode, which reads control tokens only in what was written.
MarkedText render_marked(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                         const TemplateOptions& options);
/// Its text, for people: encoded as it stands, it would hold whatever control tokens the messages spell.
std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                   const TemplateOptions& options);

}  // namespace prosa::chat
