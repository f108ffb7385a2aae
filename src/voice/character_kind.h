// Kinds of characters, as far as speech is concerned. Marks between characters (glyph.h) are of no kind.
#pragma once

namespace prosa::voice {

bool is_letter(char32_t c);
bool is_digit(char32_t c);
bool is_upper(char32_t c);  // or title case
bool is_lower(char32_t c);
bool is_space(char32_t c);       // not the one that does not break
bool is_silent(char32_t c);      // joiners, soft hyphens, variation selectors, controls, U+FFFD, what is no character
bool is_picture(char32_t c);     // emoji and other pictographs: dropped, but they part words
bool is_sign(char32_t c);        // neither letter, digit, mark of a letter nor space
bool is_terminator(char32_t c);  // may end a sentence
bool is_wide_terminator(char32_t c);  // always ends one
bool is_clause_mark(char32_t c);
bool is_wide_clause_mark(char32_t c);
bool is_opener(char32_t c);
bool is_closer(char32_t c);  // quotes and brackets that close, behind the full stop

}  // namespace prosa::voice
