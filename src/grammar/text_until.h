// Any text up to the first place where a given string ends it, without strings that would end it otherwise: the
// automaton of Aho and Corasick, as rules that call each other in last place.
//
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grammar/part.h"

namespace prosa::grammar {

struct TextUntil {
  std::string end;                 // belongs to the text; of `in_json` a quote that is not escaped
  std::vector<std::string> never;  // ASCII, as `end` is; may end like `end`
  CharSet alphabet;                // normalized; of other characters than those of the strings
  bool in_json = false;            // inside a JSON string: characters are written as they stand there
  std::string behind = {};         // what stands in front of the text, as far as it may begin one of the strings
};

/// The numbers of rules that were added to `rules`.
struct TextRules {
  uint32_t whole = 0;  // the text
  uint32_t rest = 0;   // the text when nothing of the strings has begun
};
TextRules add_text_until(const TextUntil& text, Rules& rules);

}  // namespace prosa::grammar
