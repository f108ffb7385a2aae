// The part of JSON Schema that prompts for extraction use: type, properties, required, additionalProperties (true or
// false), items, enum, const. Others are refused, not ignored; title and description say nothing.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace prosa::eval {

/// Error(unsupported) names a keyword not listed above, Error(invalid_argument) one of the wrong form or
/// with an enum of more than 4,096 values.
void check_schema(const nlohmann::ordered_json& schema, const std::string& where);

/// What `value` breaks ("price: not a number"); empty: nothing. The schema went through check_schema().
std::string schema_violation(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema);

}  // namespace prosa::eval
