// The text inside <tool_call> … </tool_call> -> calls: the XML form of the Qwen3.5 template
//   <function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n…</function>
// and the older JSON form {"name": …, "arguments": {…}}.
//
// Tolerant in order, number and white space, not in meaning: what is cut off or is no call is an error value, never
// half a call. Values are text; the tool's JSON schema says which become numbers, booleans, objects, lists or null,
// and what does not fit its type stays a string, as a string stays without a schema. Pure after construction. Time is
// linear in the block, whatever the model writes and however wide the schemas are.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/keyed_hash.h"
#include "prosa/chat.h"

namespace prosa::chat {

/// A call that could not be read.
struct CallError {
  std::string message;  // what is wrong
  std::string text;     // what the model wrote inside the tags
};

class ToolCallParser {
 public:
  ToolCallParser() = default;
  /// The tools of the conversation, for the types of their parameters. Error(invalid_argument) as parse_tool.
  explicit ToolCallParser(std::span<const Tool> tools);

  /// All calls of one <tool_call> block (usually one), or what is wrong. `body`: without the tags. `cut_off`: it was
  /// not closed by </tool_call>, so that the call itself must show that it is whole.
  [[nodiscard]] std::variant<std::vector<ToolCall>, CallError> parse(std::string_view body, bool cut_off = false) const;

 private:
  struct Function {
    nlohmann::ordered_json parameters =
        nlohmann::ordered_json::object();  // its schema, the root that "$ref" starts from
    KeyedMap<size_t> properties;           // their places in parameters.properties

    /// Null for a parameter that the schema does not name.
    [[nodiscard]] const nlohmann::ordered_json* schema_of(std::string_view parameter) const;
  };
  KeyedMap<Function> functions_;  // by name; of equal names the first
};

}  // namespace prosa::chat
