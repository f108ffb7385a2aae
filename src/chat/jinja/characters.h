// Strings by characters, as Python has them: positions are code points, case and white space are Unicode's. Every
// function keeps the marks of what it takes apart.
//
// Knows no values. All text here is valid UTF-8 (the template and the messages were held to it), and what comes out
// is. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/marked_text.h"

namespace prosa::chat::jinja {

/// Code points of the text.
size_t length_of(std::string_view text) noexcept;
/// Where the code point with that index begins, or the end of the text.
size_t offset_of(std::string_view text, size_t index) noexcept;

bool is_space(char32_t code) noexcept;    // str.isspace()
bool is_letter(char32_t code) noexcept;   // str.isalpha()
bool is_digit(char32_t code) noexcept;    // str.isdigit(), for decimal digits and superscripts
bool is_decimal(char32_t code) noexcept;  // str.isdecimal()
bool is_upper(char32_t code) noexcept;
bool is_lower(char32_t code) noexcept;
bool is_printable(char32_t code) noexcept;  // str.isprintable()
std::string upper_of(char32_t code);        // may be two or three characters: ß is SS
std::string lower_of(char32_t code);
std::string title_of(char32_t code);

MarkedText upper(const MarkedText& text);
MarkedText lower(const MarkedText& text);
MarkedText swapcase(const MarkedText& text);
MarkedText capitalize(const MarkedText& text);
/// str.title(): every letter that follows no letter is a capital.
MarkedText title(const MarkedText& text);
/// The title filter of Jinja: words begin after blanks, hyphens and opening brackets.
MarkedText title_filter(const MarkedText& text);

/// Which ends of a text are taken off.
enum class Side { left, right, both };
/// White space.
std::string_view strip_space(std::string_view text, Side side) noexcept;
/// Any of the characters of `set`.
std::string_view strip_set(std::string_view text, std::string_view set, Side side);

/// `most` < 0: all of them. `old` empty: in front of every character and at the end.
MarkedText replace_all(const MarkedText& text, std::string_view old, const MarkedText& fresh, int64_t most);
/// At a separator that is not empty.
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t most);
std::vector<std::string_view> split_at_back(std::string_view text, std::string_view separator, int64_t most);
/// At white space.
std::vector<std::string_view> split_words(std::string_view text, int64_t most);
std::vector<std::string_view> split_words_back(std::string_view text, int64_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// & < > ' " as HTML has them.
MarkedText escaped(const MarkedText& text);

}  // namespace prosa::chat::jinja
