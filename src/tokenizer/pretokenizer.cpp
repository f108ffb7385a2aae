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

}  // namespace

std::optional<PreTokenizer> pretokenizer_for(std::string_view expression) noexcept {
  if (expression == kQwen2) return PreTokenizer::qwen2;
  if (expression == kQwen35) return PreTokenizer::qwen35;
  return std::nullopt;
}

std::string_view expression_of(PreTokenizer kind) noexcept { return kind == PreTokenizer::qwen2 ? kQwen2 : kQwen35; }

size_t piece_end(PreTokenizer kind, std::string_view text, size_t begin) noexcept {
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
