// What the tokenizer needs to know of characters: their class in the pre-tokenizer expression, and the NFC form.
//
// The data are those of utf8proc, condensed into one table on first use (about 2 ms). All text here is valid UTF-8.
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace prosa::unicode {

/// The classes that the expressions tell apart; every code point has exactly one.
enum class CharClass : uint8_t {
  letter,   // \p{L}
  mark,     // \p{M}
  number,   // \p{N}
  newline,  // \r \n
  space,    // the rest of \s: the property White_Space
  other,
};

/// Of letters, where an expression tells them apart.
enum class LetterCase : uint8_t {
  none,   // \p{Lm}, \p{Lo}, and everything that is no letter
  upper,  // \p{Lu}, \p{Lt}
  lower,  // \p{Ll}
};

/// Class and normalization behaviour of every code point, in two stages: pages of 256 code points, equal pages stored
/// once.
class CharTable {
 public:
  static const CharTable& get();

  [[nodiscard]] CharClass char_class(char32_t code) const noexcept { return static_cast<CharClass>(entry(code) & 7U); }
  [[nodiscard]] LetterCase letter_case(char32_t code) const noexcept {
    return static_cast<LetterCase>(entry(code) >> kCaseShift);
  }
  /// NFC never changes this code point nor joins or moves it to what stands before it.
  [[nodiscard]] bool nfc_boundary(char32_t code) const noexcept { return (entry(code) & kNfcMoves) == 0; }

 private:
  static constexpr uint8_t kNfcMoves = 8;
  static constexpr unsigned kCaseShift = 4;
  CharTable();
  [[nodiscard]] uint8_t entry(char32_t code) const noexcept {
    return pages_[static_cast<size_t>(page_of_[code >> 8]) * 256 + (code & 0xffU)];
  }
  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<uint8_t> pages_;  // [pages, 256]: CharClass | kNfcMoves | LetterCase << kCaseShift
};

/// True if nothing in `text` can be changed by NFC (it may also be false for text that is NFC).
bool is_surely_nfc(std::string_view text) noexcept;
/// The NFC form, in O(n log n) even for hostile piles of combining marks.
std::string to_nfc(std::string_view text);
/// \w of an added token's `single_word`: letters, marks, decimal digits, connectors, joiners.
bool is_word(char32_t code) noexcept;
/// White_Space, newlines included.
bool is_space(char32_t code) noexcept;

}  // namespace prosa::unicode
