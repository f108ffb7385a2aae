// The scanner. Each branch of piece_end is one alternative of the expression, in its order; the first that fits wins,
// as in a backtracking engine. Time is linear: no alternative looks farther than the piece plus one run of white space
// whose newlines end the piece.
#include "tokenizer/pretokenizer.h"

#include <array>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace prosa {
namespace {

using unicode::CharClass;
using unicode::CharTable;

constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::string_view kCased =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr auto kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (unsigned c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    classes[c] = letter                   ? CharClass::letter
                 : c >= '0' && c <= '9'   ? CharClass::number
                 : c == '\r' || c == '\n' ? CharClass::newline
                 : space                  ? CharClass::space
                                          : CharClass::other;
  }
  return classes;
}();

/// A place in the text: the class of the character there and where the next one begins.
struct Cursor {
  std::string_view text;
  CharClass mark_as;  // what marks count as: letter or other
  size_t at = 0;
  size_t behind = 0;  // == at: the end of the text
  CharClass kind = CharClass::other;

  Cursor(std::string_view text_, CharClass mark_as_, size_t at_) : text(text_), mark_as(mark_as_), at(at_) { look(); }

  void look() noexcept {
    behind = at;
    if (at == text.size()) return;
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      kind = kAsciiClasses[byte];
      behind = at + 1;
      return;
    }
    kind = CharTable::get().char_class(utf8::next(text, behind));
    if (kind == CharClass::mark) kind = mark_as;
  }
  void advance() noexcept {
    at = behind;
    look();
  }
  [[nodiscard]] bool at_end() const noexcept { return behind == at; }
  [[nodiscard]] bool is(CharClass wanted) const noexcept { return !at_end() && kind == wanted; }
  [[nodiscard]] bool is_white() const noexcept { return is(CharClass::space) || is(CharClass::newline); }
};

/// (?i:'s|'t|'re|'ve|'m|'ll|'d) behind the apostrophe: how many bytes, 0 for none. U+017F is a lower-case s too.
size_t contraction_size(std::string_view rest) noexcept {
  if (rest.empty()) return 0;
  const auto lower = [&](size_t i) { return i < rest.size() ? static_cast<char>(rest[i] | 0x20) : '\0'; };
  switch (lower(0)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 1;
    case 'r':
    case 'v': return lower(1) == 'e' ? 2 : 0;
    case 'l': return lower(1) == 'l' ? 2 : 0;
    default: return rest.starts_with("\xc5\xbf") ? 2 : 0;
  }
}

/// The alternatives for white space: \s*[\r\n]+ | \s+(?!\S) | \s+
size_t white_end(Cursor cursor) noexcept {
  size_t newline_end = 0;
  size_t last = cursor.at;  // where the run's last character begins
  const size_t begin = cursor.at;
  for (; cursor.is_white(); cursor.advance()) {
    last = cursor.at;
    if (cursor.kind == CharClass::newline) newline_end = cursor.behind;
  }
  if (newline_end != 0) return newline_end;
  if (cursor.at_end() || last == begin) return cursor.at;
  return last;  // the last one stays for the word that follows
}

// ---- the expression that tells cases apart: `upper` is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], `lower`
// [\p{Ll}\p{Lm}\p{Lo}\p{M}]; letters without a case and marks are both.

struct CasedCursor : Cursor {
  CasedCursor(std::string_view text_, size_t at_) : Cursor(text_, CharClass::mark, at_) {}

  [[nodiscard]] unicode::LetterCase letter_case() const noexcept {
    size_t place = at;
    return CharTable::get().letter_case(utf8::next(text, place));
  }
  [[nodiscard]] bool is_upper() const noexcept {
    return is(CharClass::mark) || (is(CharClass::letter) && letter_case() != unicode::LetterCase::lower);
  }
  [[nodiscard]] bool is_lower() const noexcept {
    return is(CharClass::mark) || (is(CharClass::letter) && letter_case() != unicode::LetterCase::upper);
  }
};

/// upper*lower+ at `begin`, or nothing. A run of `upper` gives back what `lower` needs: down to its last character that
/// is both.
std::optional<size_t> lower_word_end(std::string_view text, size_t begin) noexcept {
  CasedCursor cursor(text, begin);
  std::optional<size_t> last_of_both;
  for (; cursor.is_upper(); cursor.advance()) {
    if (cursor.is_lower()) last_of_both = cursor.behind;
  }
  if (!cursor.is_lower()) return last_of_both;
  while (cursor.is_lower()) cursor.advance();
  return cursor.at;
}

/// upper+lower* at `begin`, or nothing.
std::optional<size_t> upper_word_end(std::string_view text, size_t begin) noexcept {
  CasedCursor cursor(text, begin);
  while (cursor.is_upper()) cursor.advance();
  if (cursor.at == begin) return std::nullopt;
  while (cursor.is_lower()) cursor.advance();
  return cursor.at;
}

/// Each alternative for words may take one character before the word, and is tried with it first.
size_t cased_piece_end(std::string_view text, size_t begin) noexcept {
  CasedCursor cursor(text, begin);
  const CharClass first = cursor.kind;
  if (first == CharClass::number) return cursor.behind;
  const bool takes_one = first != CharClass::newline && first != CharClass::letter;
  for (const auto word_end : {lower_word_end, upper_word_end}) {
    if (takes_one) {
      if (const auto end = word_end(text, cursor.behind)) return *end;
    }
    if (const auto end = word_end(text, begin)) return *end;
  }
  const auto is_other = [&] { return cursor.is(CharClass::other) || cursor.is(CharClass::mark); };
  if (text[begin] == ' ') cursor.advance();  //  ?[^\s\p{L}\p{N}]+[\r\n/]*
  if (is_other()) {
    while (is_other()) cursor.advance();
    while (cursor.is(CharClass::newline) || (!cursor.at_end() && text[cursor.at] == '/')) cursor.advance();
    return cursor.at;
  }
  return white_end(Cursor(text, CharClass::mark, begin));
}

}  // namespace

std::optional<PreTokenizer> pretokenizer_for(std::string_view expression) noexcept {
  if (expression == kQwen2) return PreTokenizer::qwen2;
  if (expression == kQwen35) return PreTokenizer::qwen35;
  if (expression == kCased) return PreTokenizer::cased;
  return std::nullopt;
}

std::string_view expression_of(PreTokenizer kind) noexcept {
  switch (kind) {
    case PreTokenizer::qwen2: return kQwen2;
    case PreTokenizer::qwen35: return kQwen35;
    case PreTokenizer::cased: return kCased;
  }
  return {};
}

size_t piece_end(PreTokenizer kind, std::string_view text, size_t begin) noexcept {
  if (kind == PreTokenizer::cased) return cased_piece_end(text, begin);
  const CharClass mark_as = kind == PreTokenizer::qwen35 ? CharClass::letter : CharClass::other;
  if (text[begin] == '\'') {
    if (const size_t size = contraction_size(text.substr(begin + 1)); size != 0) return begin + 1 + size;
  }
  Cursor cursor(text, mark_as, begin);
  const CharClass first = cursor.kind;
  if (first == CharClass::number) return cursor.behind;  // \p{N}; no earlier alternative can begin with one
  const bool first_is_blank = text[begin] == ' ';
  if (first != CharClass::letter) cursor.advance();

  if (first != CharClass::newline && cursor.is(CharClass::letter)) {  // [^\r\n\p{L}\p{N}]?\p{L}+
    while (cursor.is(CharClass::letter)) cursor.advance();
    return cursor.at;
  }
  if (first == CharClass::other || (first_is_blank && cursor.is(CharClass::other))) {  //  ?[^\s\p{L}\p{N}]+[\r\n]*
    while (cursor.is(CharClass::other)) cursor.advance();
    while (cursor.is(CharClass::newline)) cursor.advance();
    return cursor.at;
  }
  return white_end(Cursor(text, mark_as, begin));
}

}  // namespace prosa
