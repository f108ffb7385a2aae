// What a caller gives as text, held to UTF-8 before anything is touched: one rule and one message for all entries.
//
// Not the rules of roles and turns (template.h), nor of JSON (message_json.h). Pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "prosa/chat.h"

namespace prosa::chat {

/// Error(invalid_argument) that names `where` and the offset of the first byte that is no UTF-8.
void check_text(std::string_view text, std::string_view where);
/// Every text in them: "messages[2].tool_calls[0].arguments".
void check_text(std::span<const Message> messages, std::string_view where = "messages");
void check_text(std::span<const Tool> tools);

/// All that a reply is asked with. Errors of validate(SamplingConfig) too.
void check_request(std::span<const Message> messages, const SamplingConfig& sampling, std::span<const Tool> tools);

}  // namespace prosa::chat
