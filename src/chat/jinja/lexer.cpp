// The walk through a template (lexer.h): text up to the next tag, then the tokens of the tag.
#include "chat/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "prosa/error.h"

namespace prosa::chat::jinja {
namespace {

/// All line ends as \n, without the last one.
std::string normalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      out += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view text, const std::string& where) : source_(normalized(text)), text_(source_), where_(where) {}

  std::vector<Token> run() && {
    while (at_ < text_.size()) read_data();
    add(TokenKind::end);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { fail_syntax(message, where_, line_); }

  void add(TokenKind kind, std::string text = {}, Value value = {}) {
    tokens_.push_back({kind, line_, std::move(text), std::move(value)});
  }

  /// Moves on, and remembers whether a line begins there.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    if (to > at_) starts_line_ = text_[to - 1] == '\n';
    at_ = to;
  }

  [[nodiscard]] bool stands(std::string_view what, size_t at) const { return text_.substr(at).starts_with(what); }

  [[nodiscard]] size_t behind_space(size_t at) const {
    return text_.size() - strip_space(text_.substr(at), Side::left).size();
  }

  /// Text as it is left by the tag behind it: `sign` is what follows the tag's bracket.
  [[nodiscard]] std::string_view trimmed(std::string_view data, char sign, bool is_variable) const {
    if (sign == '-') return strip_space(data, Side::right);
    if (sign == '+' || is_variable) return data;
    const size_t line_begin = data.rfind('\n') + 1;  // 0 where there is none
    const bool begins_line = line_begin > 0 || starts_line_;
    const bool blank = strip_space(data.substr(line_begin), Side::left).empty();
    return begins_line && blank ? data.substr(0, line_begin) : data;
  }

  void read_data() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = text_.find('{', tag);
      if (tag == std::string_view::npos || stands("{{", tag) || stands("{%", tag) || stands("{#", tag)) break;
    }
    if (tag == std::string_view::npos) {
      add(TokenKind::data, std::string(text_.substr(at_)));
      return advance(text_.size());
    }
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : ' ';
    const std::string_view data = trimmed(text_.substr(at_, tag - at_), sign, kind == '{');
    if (!data.empty()) add(TokenKind::data, std::string(data));
    advance(tag);
    const size_t inside = tag + (sign == ' ' ? 2 : 3);
    if (kind == '#') return read_comment(inside);
    if (kind == '%') {
      const size_t word = behind_space(inside);
      if (stands("raw", word) && ends_block(behind_space(word + 3), false)) return read_raw(word + 3);
    }
    add(kind == '%' ? TokenKind::block_begin : TokenKind::variable_begin);
    advance(inside);
    read_tag(kind == '%');
  }

  /// Whether a block's end stands there: "%}" or "-%}", and for most "+%}" too.
  [[nodiscard]] bool ends_block(size_t at, bool plus) const {
    return stands("%}", at) || stands("-%}", at) || (plus && stands("+%}", at));
  }

  /// Behind the end of a block, and what it swallows.
  [[nodiscard]] size_t behind_block_end(size_t at, bool trims) const {
    if (text_[at] == '-') return behind_space(at + 3);
    if (text_[at] == '+') return at + 3;
    return at + 2 + (trims && stands("\n", at + 2) ? 1 : 0);
  }

  void read_comment(size_t inside) {
    const size_t end = text_.find("#}", inside);
    if (end == std::string_view::npos) fail("a comment {# has no end #}");
    const char sign = end > inside ? text_[end - 1] : ' ';
    size_t behind = end + 2;
    if (sign == '-') {
      behind = behind_space(behind);
    } else if (sign != '+' && stands("\n", behind)) {
      ++behind;
    }
    advance(behind);
  }

  void read_raw(size_t behind_word) {
    advance(behind_block_end(behind_space(behind_word), false));
    for (size_t tag = text_.find("{%", at_); tag != std::string_view::npos; tag = text_.find("{%", tag + 2)) {
      const bool signed_tag = tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+');
      const char sign = signed_tag ? text_[tag + 2] : ' ';
      const size_t word = behind_space(tag + (signed_tag ? 3 : 2));
      const size_t end = behind_space(std::min(word + 6, text_.size()));
      if (!stands("endraw", word) || !ends_block(end, true)) continue;
      const std::string_view data = trimmed(text_.substr(at_, tag - at_), sign, false);
      if (!data.empty()) add(TokenKind::data, std::string(data));
      return advance(behind_block_end(end, true));
    }
    fail("{% raw %} has no {% endraw %}");
  }

  void read_tag(bool is_block) {
    std::string open;  // brackets
    for (;;) {
      advance(behind_space(at_));
      if (at_ == text_.size()) fail(is_block ? "a tag {% has no end %}" : "an expression {{ has no end }}");
      if (open.empty() && is_block && ends_block(at_, true)) {
        add(TokenKind::block_end);
        return advance(behind_block_end(at_, true));
      }
      if (open.empty() && !is_block && (stands("}}", at_) || stands("-}}", at_))) {
        add(TokenKind::variable_end);
        return advance(text_[at_] == '-' ? behind_space(at_ + 3) : at_ + 2);
      }
      read_token(open);
    }
  }

  void read_token(std::string& open) {
    const char c = text_[at_];
    if (c >= '0' && c <= '9') return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    size_t end = at_;
    while (end < text_.size() && is_name_part(end)) utf8::next(text_, end);
    if (end > at_) {
      add(TokenKind::name, std::string(text_.substr(at_, end - at_)));
      return advance(end);
    }
    read_operator(open);
  }

  [[nodiscard]] bool is_name_part(size_t at) const {
    const char32_t code = utf8::next(text_, at);
    return code == '_' || is_letter(code) || is_decimal(code);
  }

  void read_operator(std::string& open) {
    constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
    for (const std::string_view op : kLong) {
      if (!stands(op, at_)) continue;
      add(TokenKind::op, std::string(op));
      return advance(at_ + 2);
    }
    const char c = text_[at_];
    if (kShort.find(c) == std::string_view::npos) {
      size_t end = at_;
      utf8::next(text_, end);
      fail(fmt::format("unexpected character {}", python_quoted(text_.substr(at_, end - at_))));
    }
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) fail(fmt::format("unexpected '{}'", c));
      if (open.back() != c) fail(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    add(TokenKind::op, std::string(1, c));
    advance(at_ + 1);
  }

  /// Behind digits with single underscores between them.
  [[nodiscard]] size_t behind_digits(size_t at) const {
    const auto digit = [&](size_t i) { return i < text_.size() && text_[i] >= '0' && text_[i] <= '9'; };
    while (digit(at) || (at < text_.size() && text_[at] == '_' && digit(at + 1))) ++at;
    return at;
  }

  void read_number() {
    constexpr std::string_view kBases = "xXoObB";
    if (text_[at_] == '0' && at_ + 2 < text_.size() && kBases.find(text_[at_ + 1]) != std::string_view::npos) {
      size_t end = at_ + 2;
      while (end < text_.size() && (std::isxdigit(static_cast<unsigned char>(text_[end])) != 0 || text_[end] == '_'))
        ++end;
      const char letter = static_cast<char>(text_[at_ + 1] | 32);
      return add_integer(at_ + 2, end, letter == 'x' ? 16 : (letter == 'o' ? 8 : 2));
    }
    const size_t whole = behind_digits(at_);
    size_t end = whole;
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot && stands(".", end) && behind_digits(end + 1) > end + 1) end = behind_digits(end + 1);
    if (!after_dot && (stands("e", end) || stands("E", end))) {
      const size_t sign = end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-') ? 1 : 0;
      if (behind_digits(end + 1 + sign) > end + 1 + sign) end = behind_digits(end + 1 + sign);
    }
    if (end == whole) return add_integer(at_, end, 10);
    std::string digits;
    std::ranges::copy_if(text_.substr(at_, end - at_), std::back_inserter(digits), [](char c) { return c != '_'; });
    double value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    add(TokenKind::real, digits, Value::real(value));
    advance(end);
  }

  void add_integer(size_t begin, size_t end, int base) {
    Integer value = 0;
    for (size_t i = begin; i < end; ++i) {
      const char c = text_[i];
      if (c == '_') continue;
      const int digit = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
      if (digit >= base) fail("a digit does not belong to its number");
      if (__builtin_mul_overflow(value, Integer{base}, &value) || __builtin_add_overflow(value, Integer{digit}, &value))
        fail("a number is too large");
    }
    if (begin == end) fail("a number has no digits");
    add(TokenKind::integer, std::string(text_.substr(begin, end - begin)), Value::integer(value));
    advance(end);
  }

  void read_string(char quote) {
    std::string value;
    size_t at = at_ + 1;
    for (;; ++at) {
      if (at >= text_.size()) fail("a string has no end");
      if (text_[at] == quote) break;
      if (text_[at] != '\\') {
        value += text_[at];
        continue;
      }
      if (++at >= text_.size()) fail("a string has no end");
      at = read_escape(at, value);
    }
    add(TokenKind::string, std::move(value));
    advance(at + 1);
  }

  /// Behind a backslash; gives the last place that belongs to it.
  size_t read_escape(size_t at, std::string& value) const {
    constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[at];
    if (c == '\n') return at;
    if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
      value += kMeanings[known];
      return at;
    }
    if (c >= '0' && c <= '7') {
      char32_t code = 0;
      size_t end = at;
      for (; end < text_.size() && end < at + 3 && text_[end] >= '0' && text_[end] <= '7'; ++end)
        code = code * 8 + static_cast<char32_t>(text_[end] - '0');
      utf8::append(value, code);
      return end - 1;
    }
    const size_t digits = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
    if (digits == 0) {
      if (c == 'N') fail("characters by their names (\\N) are not supported");
      value += '\\';
      value += c;
      return at;
    }
    uint32_t code = 0;
    const char* begin = text_.data() + at + 1;
    const char* end = begin + std::min(digits, text_.size() - at - 1);
    const auto [stop, error] = std::from_chars(begin, end, code, 16);
    if (error != std::errc() || stop != begin + digits || code >= 0x110000) fail("a string has a damaged escape");
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    utf8::append(value, surrogate ? U'\uFFFD' : static_cast<char32_t>(code));
    return at + digits;
  }

  const std::string source_;
  const std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
  int line_ = 1;
  bool starts_line_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text, const std::string& where) { return Lexer(text, where).run(); }

void fail_syntax(const std::string& message, const std::string& where, int line) {
  throw Error(ErrorCode::bad_template, "the chat template cannot be read: " + message,
              fmt::format("{}, line {}", where, line), "mend the template, or take the one of the model's authors");
}

}  // namespace prosa::chat::jinja
