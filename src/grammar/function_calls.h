// The text of one tool call, as models write it between <tool_call> and </tool_call>, read from the tools' own JSON
// Schemas into rules: the name is one of those offered, and the arguments satisfy its schema.
//
//   <function=NAME>               or, by older models,   {"name": "NAME", "arguments": {…}}
//   <parameter=KEY>
//   VALUE
//   </parameter>
//   …
//   </function>
//
// A VALUE is a string as it is, and JSON otherwise. It ends where its end tag first stands, so that no value holds one.
// Parameters stand in the order of the schema. Knows tools, not replies. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "grammar/part.h"

namespace prosa::grammar {

struct Function {
  std::string name;
  nlohmann::ordered_json parameters = nlohmann::ordered_json::object();  // a JSON Schema
  bool strict = false;  // what the schema says is held to or refused; otherwise what cannot be held to is left free
  std::string where;    // of the parameters, in errors
};

enum class CallForm { tagged, json };

struct CallRules {
  Rules rules;
  std::vector<std::string> left_free;  // of functions that are not strict: what cannot be held to, with path and reason
};

/// Of equal names the first counts. Errors: those of read_json_schema() for strict functions; unsupported: a strict one
/// whose name cannot be written, or none of all that could be called.
CallRules read_function_calls(std::span<const Function> functions, CallForm form);

}  // namespace prosa::grammar
