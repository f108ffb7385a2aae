// A character of a written reply with its place there: what passes from the markup reader to the sentence cutter and on
// to the renderer. Between the characters stand marks, which are no text.
//
// Invariant: places never decrease along a stream of glyphs. Characters here are Unicode code points.
#pragma once

#include <cstddef>
#include <vector>

namespace prosa::voice {

struct Glyph {
  char32_t code = 0;  // a code point, or one of the marks below
  size_t begin = 0;   // bytes of the written reply; of a mark: where it was read
  size_t end = 0;
};
using Glyphs = std::vector<Glyph>;

inline constexpr char32_t kBlockEnd = 0x110000;    // a paragraph, heading, list item or row of a table ends
inline constexpr char32_t kCellEnd = 0x110001;     // a cell of a table ends: a pause
inline constexpr char32_t kCodeBlock = 0x110002;   // stands for a block of code; its place is the line that opens it
inline constexpr char32_t kInlineCode = 0x110003;  // stands for code within a sentence
inline constexpr bool is_mark(char32_t code) { return code >= kBlockEnd; }

inline constexpr bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }
inline constexpr bool is_ascii_letter(char32_t c) { return (c | 0x20U) >= 'a' && (c | 0x20U) <= 'z' && c < 0x80; }
inline constexpr bool is_ascii_alnum(char32_t c) { return is_ascii_digit(c) || is_ascii_letter(c); }
/// Scripts that are written without spaces: ideographs, kana, their punctuation and wide forms.
inline constexpr bool is_cjk(char32_t c) {
  return (c >= 0x2e80 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0xff00 && c <= 0xff9f) ||
         (c >= 0x20000 && c <= 0x3ffff);
}

}  // namespace prosa::voice
