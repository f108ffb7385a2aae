// Messages, tools and tool calls as JSON and back: prosa's own structs on one side, the shape of OpenAI's chat messages
// (which the chat template reads) on the other.
//
// Not the template (template.h) and not a protocol: ids, names and other fields a client sends along are ignored here.
// Whatever JSON comes from outside passes through parse_json, which bounds it, so that everything after it may
// recurse. Pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "prosa/chat.h"

namespace prosa::chat {

inline constexpr int kMaxJsonDepth = 200;
inline constexpr size_t kMaxJsonBytes = size_t{64} << 20;
inline constexpr size_t kMaxJsonEntries = size_t{1} << 24;  // a line of a corpus may be millions of token ids

/// Error(invalid_argument) that names `what` for invalid JSON or one beyond these bounds.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view what);

/// The arguments of a call as an object: "" and "null" are {}. Error(invalid_argument) names the call otherwise.
nlohmann::ordered_json parse_tool_arguments(const ToolCall& call);
/// The arguments of a call to `name` as ToolCall has them, from an object, a string that holds one, or null. Errors as
/// above.
std::string arguments_from_json(const nlohmann::ordered_json& arguments, const std::string& name);
/// The tool's JSON, kept as given: {"type": "function", "function": {…}} or a bare function object {"name": …}.
/// Error(invalid_argument) names the tool's place in the list.
nlohmann::ordered_json parse_tool(const Tool& tool, size_t index = 0);

/// What render() takes. A message without reasoning gets no "reasoning_content", so that thoughts still lying in its
/// content are found by the template.
nlohmann::ordered_json to_json(const Message& message);
nlohmann::ordered_json to_json(std::span<const Message> messages);
/// A variable of a template: JSON, or else the text itself. Error(invalid_argument) for JSON beyond the bounds.
nlohmann::ordered_json variable_from_text(const std::string& text);

/// An array, or null when there are none.
nlohmann::ordered_json to_json(std::span<const Tool> tools);

/// Messages of an API request. `content`: string, null or a list of text parts (joined); `arguments`: an object or a
/// string holding one; the role "developer" is "system". Errors name the message: invalid_argument for a wrong shape,
/// unsupported for images, video and audio.
std::vector<Message> messages_from_json(const nlohmann::ordered_json& messages);
std::vector<Tool> tools_from_json(const nlohmann::ordered_json& tools);

}  // namespace prosa::chat
