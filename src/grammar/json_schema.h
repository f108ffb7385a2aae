// JSON Schemas (draft 2020-12), read into rules for the JSON texts that satisfy them.
//
// What a schema says is honoured or refused, never ignored: an error names the keyword with its path. Honoured: type,
// enum, const, properties (in the order of the schema), required, additionalProperties, items, prefixItems, minItems,
// maxItems, minLength, maxLength, pattern, format, minimum, maximum and the exclusive ones, anyOf, oneOf where the
// branches exclude each other, allOf, $ref inside the document, recursion too, and $defs. Annotations say nothing.
//
// The texts are JSON as models write it: one space or a line break with its indentation between tokens, or nothing;
// strings with the escapes that are needed and no others; integers of at most 18 digits, other numbers of at most 20 on
// each side of the point; the same key only once, but for keys that a schema does not
// name. Thus everything that is allowed satisfies the schema; not everything that satisfies it is allowed. Pure.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "grammar/part.h"

namespace prosa::grammar {

/// Errors: invalid_argument (no schema: the keyword has the wrong form), unsupported (a keyword that cannot be
/// honoured here). where(): `where` and the path, "schema/properties/age/multipleOf".
Rules read_json_schema(const nlohmann::ordered_json& schema, const std::string& where = "schema");
/// From its text. Errors as above, and those of parse_json.
Rules read_json_schema_text(std::string_view text, const std::string& where = "schema");

/// Any JSON value, or any object.
Rules any_json(bool object);

}  // namespace prosa::grammar
