// Regular expressions, as JSON Schema and most programs write them, read into parts.
//
// Characters, not bytes: a class holds Unicode characters, `\d` `\w` `\s` the ASCII ones. What only a search with
// memory could honour (back-references, looking ahead or behind, word borders) is refused, never ignored; lazy
// repetitions mean the same texts as greedy ones. Pure.
#pragma once

#include <string>
#include <string_view>

#include "grammar/part.h"

namespace prosa::grammar {

inline constexpr size_t kMaxRegexBytes = 4096;

struct RegexOptions {
  /// The whole text has to match. Otherwise the match may stand anywhere in it, but where `^` and `$` say.
  bool whole = true;
  /// The text stands inside a JSON string: quotes, backslashes and control characters are written as escapes.
  bool in_json = false;
  std::string where = "pattern";             // what errors name
  CharSet alphabet = {{0, kLastCharacter}};  // normalized: no other character stands in the text
};

/// Errors: invalid_argument (none that can be read; says where), unsupported (what is refused).
Part read_regex(std::string_view text, const RegexOptions& options = {});

/// One character of a set as it stands in a JSON string.
Part one_of_in_json(const CharSet& set);

}  // namespace prosa::grammar
