// The tokens of JSON as parts: what JSON Schemas are put together from. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/part.h"

namespace prosa::grammar {

/// Nothing, a space, or a line break with spaces or tabs behind it.
Part json_space();
/// Its escapes included, without the quotes.
Part json_characters(std::string_view text);
/// Any number.
Part json_number();
/// A number of [least, most] without an exponent. `open`: that end does not belong to it.
struct NumberBound {
  int64_t value = 0;
  bool open = false;
};
Part json_number_between(std::optional<NumberBound> least, std::optional<NumberBound> most);
/// The rest of a string, its last quote included.
Part json_string_rest();
/// A string, quotes included, that is none of these. `rest`: json_string_rest(), or the rule of it. `others`: what it
/// may have where it parts from all of them.
Part json_string_except(const std::vector<std::string>& texts, const Part& rest,
                        const CharSet& others = {{0, kLastCharacter}});
/// What a string of this format holds, as it stands inside quotes; unset: the format is not known.
std::optional<Part> json_format(std::string_view name);

}  // namespace prosa::grammar
