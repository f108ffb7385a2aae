// Grammars in GBNF, the notation of llama.cpp, read into rules:
//
//   root ::= "turn " ("on" | "off") " the " thing   # a comment
//   thing ::= [a-z]+ | "\"" [^"\n]{1,20} "\""
//
// A rule goes on to the end of its line, in parentheses over it, and on lines that begin with '|'. What is repeated is
// a literal, a class, a dot (any character), a name or parentheses: * + ? {n} {n,} {n,m}. `root` is the whole language.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "grammar/part.h"

namespace prosa::grammar {

inline constexpr size_t kMaxGbnfBytes = size_t{1} << 18;

/// Error(invalid_argument): none that can be read (says the line), a rule that is missing or stands twice.
Rules read_gbnf(std::string_view text, const std::string& where = "grammar");

}  // namespace prosa::grammar
