// Case, classes, stripping and splitting of strings (characters.h). Unicode's data are utf8proc's.
#include "chat/jinja/characters.h"

#include <algorithm>
#include <array>
#include <utility>

#include <utf8proc.h>

#include "base/utf8.h"

namespace prosa::chat::jinja {
namespace {

utf8proc_category_t category_of(char32_t code) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

/// Characters whose capitals are more than one character, in the order of their code points.
struct Expansion {
  char32_t code;
  std::string_view upper, title;
};
constexpr std::array<Expansion, 11> kExpansions = {{{0xDF, "SS", "Ss"},
                                                    {0x149, "\u02BCN", "\u02BCN"},
                                                    {0x1F0, "J\u030C", "J\u030C"},
                                                    {0x587, "\u0535\u0552", "\u0535\u0582"},
                                                    {0xFB00, "FF", "Ff"},
                                                    {0xFB01, "FI", "Fi"},
                                                    {0xFB02, "FL", "Fl"},
                                                    {0xFB03, "FFI", "Ffi"},
                                                    {0xFB04, "FFL", "Ffl"},
                                                    {0xFB05, "ST", "St"},
                                                    {0xFB06, "ST", "St"}}};

const Expansion* expansion_of(char32_t code) noexcept {
  const auto* found = std::ranges::find(kExpansions, code, &Expansion::code);
  return found == kExpansions.end() ? nullptr : found;
}

std::string text_of_code(char32_t code) {
  std::string text;
  utf8::append(text, code);
  return text;
}

bool is_cased(char32_t code) noexcept {
  return is_upper(code) || is_lower(code) || category_of(code) == UTF8PROC_CATEGORY_LT;
}

size_t last_begin(std::string_view text) noexcept {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return at;
}

/// What a word may hold between its letters: accents, apostrophes, points and the like.
bool is_case_ignorable(char32_t code) noexcept {
  constexpr std::u32string_view kMiddle =
      U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";
  switch (category_of(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return kMiddle.find(code) != std::u32string_view::npos;
  }
}

/// The small letter of the character between two places. A capital sigma at the end of a word has one of its own.
std::string lower_at(std::string_view text, size_t begin, size_t end, char32_t code) {
  constexpr char32_t kSigma = 0x3A3;
  if (code != kSigma) return lower_of(code);
  const auto cased_before = [&] {
    for (size_t at = begin; at > 0;) {
      at = last_begin(text.substr(0, at));
      size_t next = at;
      const char32_t other = utf8::next(text, next);
      if (!is_case_ignorable(other)) return is_cased(other);
    }
    return false;
  };
  const auto cased_behind = [&] {
    for (size_t at = end; at < text.size();) {
      const char32_t other = utf8::next(text, at);
      if (!is_case_ignorable(other)) return is_cased(other);
    }
    return false;
  };
  return cased_before() && !cased_behind() ? "\u03C2" : "\u03C3";
}

/// Each character through `change`, which gets its code point and that point's small letter by its place; what comes
/// out has the mark of what went in.
template <typename Change>
MarkedText each_character(const MarkedText& text, Change change) {
  MarkedText out;
  WrittenReach reach(text.given());
  const std::string& bytes = text.text();
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    const bool given = reach.from(at) == at;
    const char32_t code = utf8::next(bytes, at);
    const std::string changed = change(code, [&] { return lower_at(bytes, begin, at, code); });
    if (given) {
      out.give(changed);
    } else {
      out.write(changed);
    }
  }
  return out;
}

template <typename Belongs>
std::string_view strip_while(std::string_view text, Side side, Belongs belongs) {
  while (side != Side::right && !text.empty()) {
    size_t at = 0;
    if (!belongs(utf8::next(text, at))) break;
    text.remove_prefix(at);
  }
  while (side != Side::left && !text.empty()) {
    size_t at = last_begin(text);
    const size_t begin = at;
    if (!belongs(utf8::next(text, at))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

bool ends_line(char32_t code) noexcept {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

}  // namespace

size_t length_of(std::string_view text) noexcept {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

size_t offset_of(std::string_view text, size_t index) noexcept {
  const size_t ascii = utf8::ascii_prefix(text);
  if (index <= ascii) return index;
  size_t at = ascii;
  for (index -= ascii; index > 0 && at < text.size(); --index) utf8::next(text, at);
  return at;
}

bool is_space(char32_t code) noexcept {
  if (code < 0x80) return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_letter(char32_t code) noexcept {
  const auto category = category_of(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t code) noexcept { return category_of(code) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t code) noexcept {
  if (is_decimal(code)) return true;
  return code == 0xB2 || code == 0xB3 || code == 0xB9 ||
         (code >= 0x2070 && code <= 0x2089 && category_of(code) == UTF8PROC_CATEGORY_NO);
}
bool is_upper(char32_t code) noexcept { return utf8proc_isupper(static_cast<utf8proc_int32_t>(code)) != 0; }
bool is_lower(char32_t code) noexcept { return utf8proc_islower(static_cast<utf8proc_int32_t>(code)) != 0; }
bool is_printable(char32_t code) noexcept {
  if (code == ' ') return true;
  switch (category_of(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
  }
}

std::string upper_of(char32_t code) {
  if (const Expansion* more = expansion_of(code)) return std::string(more->upper);
  return text_of_code(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}
std::string lower_of(char32_t code) {
  if (code == 0x130) return "i\u0307";
  return text_of_code(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}
std::string title_of(char32_t code) {
  if (const Expansion* more = expansion_of(code)) return std::string(more->title);
  return text_of_code(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
}

MarkedText upper(const MarkedText& text) {
  return each_character(text, [](char32_t code, auto) { return upper_of(code); });
}

MarkedText lower(const MarkedText& text) {
  return each_character(text, [](char32_t, auto small) { return small(); });
}

MarkedText swapcase(const MarkedText& text) {
  return each_character(text, [](char32_t code, auto small) { return is_upper(code) ? small() : upper_of(code); });
}

MarkedText capitalize(const MarkedText& text) {
  bool first = true;
  return each_character(
      text, [&](char32_t code, auto small) { return std::exchange(first, false) ? title_of(code) : small(); });
}

MarkedText title(const MarkedText& text) {
  bool in_word = false;
  return each_character(text, [&](char32_t code, auto small) {
    return std::exchange(in_word, is_cased(code)) ? small() : title_of(code);
  });
}

MarkedText title_filter(const MarkedText& text) {
  constexpr std::string_view kOpens = "-({[<";
  bool in_word = false;
  return each_character(text, [&](char32_t code, auto small) {
    const bool opens =
        is_space(code) || (code < 0x80 && kOpens.find(static_cast<char>(code)) != std::string_view::npos);
    const bool inside = std::exchange(in_word, !opens);
    if (opens) return text_of_code(code);
    return inside ? small() : upper_of(code);
  });
}

std::string_view strip_space(std::string_view text, Side side) noexcept { return strip_while(text, side, is_space); }

std::string_view strip_set(std::string_view text, std::string_view set, Side side) {
  std::u32string codes;
  for (size_t at = 0; at < set.size();) codes += utf8::next(set, at);
  return strip_while(text, side, [&](char32_t code) { return codes.find(code) != std::u32string::npos; });
}

MarkedText replace_all(const MarkedText& text, std::string_view old, const MarkedText& fresh, int64_t most) {
  const std::string_view bytes = text.text();
  MarkedText out;
  size_t at = 0;
  for (; most != 0 && at <= bytes.size(); --most) {
    if (old.empty()) {
      out.append(fresh);
      if (at == bytes.size()) return out;
      size_t next = at;
      utf8::next(bytes, next);
      out.append(text, bytes.substr(at, next - at));
      at = next;
      continue;
    }
    const size_t found = bytes.find(old, at);
    if (found == std::string_view::npos) break;
    out.append(text, bytes.substr(at, found - at));
    out.append(fresh);
    at = found + old.size();
  }
  out.append(text, bytes.substr(at));
  return out;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  for (; most != 0; --most) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_at_back(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  for (; most != 0; --most) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_words(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  for (text = strip_space(text, Side::left); !text.empty(); text = strip_space(text, Side::left)) {
    if (most-- == 0) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    for (size_t at = 0; at < text.size(); end = at) {
      if (is_space(utf8::next(text, at))) break;
    }
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string_view> split_words_back(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  for (text = strip_space(text, Side::right); !text.empty(); text = strip_space(text, Side::right)) {
    if (most-- == 0) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t at = last_begin(text.substr(0, begin));
      const size_t before = at;
      if (is_space(utf8::next(text, at))) break;
      begin = before;
    }
    parts.push_back(text.substr(begin));
    text = text.substr(0, begin);
  }
  std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t code = utf8::next(text, at);
    if (!ends_line(code)) continue;
    if (code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

MarkedText escaped(const MarkedText& text) {
  if (text.text().find_first_of("&<>'\"") == std::string::npos) return text;
  return each_character(text, [](char32_t code, auto) -> std::string {
    switch (code) {
      case '&': return "&amp;";
      case '<': return "&lt;";
      case '>': return "&gt;";
      case '\'': return "&#39;";
      case '"': return "&#34;";
      default: return text_of_code(code);
    }
  });
}

}  // namespace prosa::chat::jinja
