// What the official template takes from Python: str.strip() and str() of JSON values, exact to the byte.
//
// Not a Python: only what the chat template needs, on valid UTF-8 (other bytes count as no white space). Pure.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace prosa::chat {

/// str.strip(): all of Unicode's white space and the separators U+001C..U+001F, at both ends.
std::string_view python_strip(std::string_view text) noexcept;
/// str.lstrip(character), str.rstrip(character).
std::string_view strip_front(std::string_view text, char character) noexcept;
std::string_view strip_back(std::string_view text, char character) noexcept;

/// json.dumps(value, ensure_ascii=False): {"a": [1, 2.5]}, floats as repr() writes them (1e+16, 0.1, 1.0).
/// Nesting must be bounded (message_json.h, parse_json).
std::string to_python_json(const nlohmann::ordered_json& value);
/// str() of null, a boolean or a number ("None", "True", "1e+16"); of a string the string itself. Objects and lists
/// are a broken invariant: the template writes them as JSON.
std::string to_python_string(const nlohmann::ordered_json& scalar);

}  // namespace prosa::chat
