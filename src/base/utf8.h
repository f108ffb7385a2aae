// UTF-8, code point by code point: reading valid text, finding damage, replacing it by U+FFFD.
//
// Knows nothing of characters' meaning. "Damage" is replaced as most software does it: one U+FFFD for each longest
// start of a character that cannot go on (so F0 9F 98 41 is one U+FFFD and an A, C0 80 are two U+FFFD).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace prosa::utf8 {

/// One step through text that may be damaged.
struct Step {
  size_t size = 0;    // bytes to go on by; 0 only at the end of the text
  char32_t code = 0;  // U+FFFD if damaged or unfinished
  bool valid = false;
  bool unfinished = false;  // the text ends inside what could still become a character
};
Step step(std::string_view text, size_t at) noexcept;

/// The code point at `at` of valid UTF-8; `at` moves behind it. Unchecked: only for text that went through is_valid().
inline char32_t next(std::string_view text, size_t& at) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return at += 1, lead;
  if (lead < 0xe0) {
    const char32_t code = ((lead & 0x1fU) << 6) | (byte(1) & 0x3fU);
    return at += 2, code;
  }
  if (lead < 0xf0) {
    const char32_t code = ((lead & 0x0fU) << 12) | ((byte(1) & 0x3fU) << 6) | (byte(2) & 0x3fU);
    return at += 3, code;
  }
  const char32_t code =
      ((lead & 0x07U) << 18) | ((byte(1) & 0x3fU) << 12) | ((byte(2) & 0x3fU) << 6) | (byte(3) & 0x3fU);
  return at += 4, code;
}

/// Length of the ASCII at the front of `text`, eight bytes a step.
size_t ascii_prefix(std::string_view text) noexcept;
bool is_valid(std::string_view text) noexcept;
/// `code` must be a scalar value (not a surrogate, below 0x110000).
void append(std::string& out, char32_t code);
/// `text` with damage replaced by U+FFFD.
std::string replace_invalid(std::string_view text);
/// Appends the part of `text` that is decided (damage replaced) to `out`; returns how many bytes that were. The rest,
/// at most 3 bytes, is the start of a character whose end has yet to come.
size_t append_complete(std::string& out, std::string_view text);

}  // namespace prosa::utf8
