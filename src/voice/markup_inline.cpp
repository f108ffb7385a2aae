// Within a line: emphasis, links, images, code, HTML, entities, escapes.
#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "voice/markup.h"

namespace prosa::voice {
namespace {

constexpr size_t kMaxSpokenCode = 40;  // characters of a name in backticks

struct Entity {
  std::u32string_view name;
  char32_t code;
};
constexpr std::array<Entity, 26> kEntities = {{
    {U"amp", U'&'},   {U"lt", U'<'},     {U"gt", U'>'},     {U"quot", U'"'}, {U"apos", U'\''}, {U"nbsp", U'\u00a0'},
    {U"euro", U'€'},  {U"pound", U'£'},  {U"yen", U'¥'},    {U"deg", U'°'},  {U"times", U'×'}, {U"divide", U'÷'},
    {U"ndash", U'–'}, {U"mdash", U'—'},  {U"hellip", U'…'}, {U"copy", U' '}, {U"reg", U' '},   {U"trade", U' '},
    {U"rarr", U','},  {U"frac12", U'½'}, {U"frac14", U'¼'}, {U"sup2", U'²'}, {U"sup3", U'³'},  {U"middot", U' '},
    {U"szlig", U'ß'}, {U"minus", U'−'},
}};

char32_t entity_code(std::u32string_view name) {
  if (!name.empty() && name[0] == '#') {
    const bool hex = name.size() > 1 && (name[1] | 0x20U) == 'x';
    char32_t code = 0;
    for (const char32_t c : name.substr(hex ? 2 : 1)) {
      const bool letter = is_ascii_letter(c) && (c | 0x20U) <= 'f';
      if (!is_ascii_digit(c) && !(hex && letter)) return 0;
      code = code * (hex ? 16 : 10) + (letter ? (c | 0x20U) - 'a' + 10 : c - '0');
      if (code > 0x10ffff) return U' ';
    }
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < 0x20 || surrogate ? U' ' : code;
  }
  const auto found = std::ranges::find(kEntities, name, &Entity::name);
  return found == kEntities.end() ? 0 : found->code;
}

// The mark that a tag leaves, or 0 for one that is of no consequence.
char32_t tag_mark(std::u32string_view tag) {
  std::u32string name;
  for (const char32_t c : tag.substr(!tag.empty() && tag[0] == '/' ? 1 : 0)) {
    if (!is_ascii_alnum(c)) break;
    name.push_back(c | 0x20U);
  }
  constexpr auto kBlocks = std::to_array<std::u32string_view>(
      {U"br", U"p", U"div", U"li", U"ul", U"ol", U"tr", U"table", U"blockquote", U"pre", U"details", U"summary"});
  if (std::ranges::find(kBlocks, name) != kBlocks.end()) return kBlockEnd;
  // Digits keep their bits under | 0x20.
  if (name.size() == 2 && name[0] == 'h' && (name[1] == 'r' || is_ascii_digit(name[1]))) return kBlockEnd;
  return name == U"td" || name == U"th" ? kCellEnd : 0;
}

// A name or a few words: letters, digits and what joins them.
bool reads_as_words(std::u32string_view code) {
  if (code.empty() || code.size() > kMaxSpokenCode || std::ranges::count(code, U' ') > 3) return false;
  bool letters = false;
  for (const char32_t c : code) {
    if (is_ascii_alnum(c) || c >= 0xaa) letters = true;
    constexpr std::u32string_view kJoining = U" ._-:/+#'(),";
    if (!is_ascii_alnum(c) && c < 0xaa && kJoining.find(c) == std::u32string_view::npos) return false;
  }
  return letters;
}

bool word_like(char32_t c) { return is_ascii_alnum(c) || (c >= 0xaa && !is_mark(c)); }

}  // namespace

bool Markup::step_inline() {
  const char32_t c = at(0);
  switch (c) {
    case '\n': return newline();
    case '\\': return backslash();
    case '`': return code_span();
    case '*': return star();
    case '_': return underscore();
    case '~': return tilde();
    case '[': return bracket(0);
    case ']': return take(1), true;
    case '<': return angle();
    case '&': return entity();
    case '|': emit_mark(kCellEnd); return take(1), true;
    case '!':
      if (at(1) == kNotYet) return false;
      if (at(1) == '[') return bracket(1);
      break;
    case U'\u00a0':
    case U'\u202f':
    case U'\u2009':  // they keep a number and its unit together
      emit(is_ascii_digit(last_) ? U'\u00a0' : U' ', 0);
      return take(1), true;
    default: break;
  }
  if (is_ascii_digit(c)) return digit();
  emit(c, 0);
  return take(1), true;
}

// A digit in a box is a picture.
bool Markup::digit() {
  if (at(1) == kNotYet) return false;
  if (at(1) == 0xfe0f && at(2) == kNotYet) return false;
  if (at(1) == 0x20e3) return take(2), true;
  if (at(1) == 0xfe0f && at(2) == 0x20e3) return take(3), true;
  emit(at(0), 0);
  return take(1), true;
}

bool Markup::backslash() {
  const char32_t next = at(1);
  if (next == kNotYet) return false;
  if (next == '\n') {
    emit_mark(kBlockEnd);
    finish_line();
    return take(2), true;
  }
  const bool escapes = next < 0x80 && next > 0x20 && !is_ascii_alnum(next);
  take(1);
  if (!escapes) return true;
  emit(next, 0);
  return take(1), true;
}

// "2 * 3" multiplies; every other star is a sign.
bool Markup::star() {
  const bool after_number = is_ascii_digit(last_) || (last_ == ' ' && is_ascii_digit(before_last_));
  if (after_number) {
    const size_t next = at(1) == ' ' ? 2 : 1;
    if (at(next) == kNotYet) return false;
    if (is_ascii_digit(at(next))) emit(U'×', 0);
  }
  return take(1), true;
}

// Between letters it belongs to a name.
bool Markup::underscore() {
  if (word_like(last_)) {
    if (at(1) == kNotYet) return false;
    if (word_like(at(1))) emit('_', 0);
  }
  return take(1), true;
}

// "~5 km" is about that much, "/~name" an address; two of them strike through.
bool Markup::tilde() {
  if (at(1) == kNotYet) return false;
  if (at(1) == '~') return take(run_length('~', 0, kMaxLookAhead)), true;
  if (last_ == '/') {
    emit('~', 0);
  } else if (is_ascii_digit(at(1)) && !word_like(last_)) {
    emit(U'≈', 0);
  }
  return take(1), true;
}

bool Markup::code_span() {
  constexpr size_t kMaxRun = 32;
  const size_t run = run_length('`', 0, kMaxRun);
  size_t end = run;
  size_t ticks = 0;
  if (at(run) == kNotYet) return false;
  for (; run < kMaxRun && end < kMaxLookAhead; ++end) {
    const char32_t c = at(end);
    if (c == kNotYet) return false;
    if (c != '`' && ticks == run) break;
    ticks = c == '`' ? ticks + 1 : 0;
    if (c == kNever || (c == '\n' && at(end + 1) == '\n')) {
      end = kMaxLookAhead;
      break;
    }
  }
  if (ticks != run || end >= kMaxLookAhead) return take(run), true;  // it closes nowhere: only a sign
  const std::u32string code = slice(run, end - run);
  if (reads_as_words(code)) {
    for (size_t i = run; i < end - run; ++i) emit(at(i), i);
  } else if (announce_code_) {
    emit_mark(kInlineCode, end);
  }
  return take(end), true;
}

Markup::Found Markup::find_closing_bracket(size_t open, size_t& close) const {
  size_t depth = 0;
  for (size_t i = open; i < open + kMaxLookAhead; ++i) {
    const char32_t c = at(i);
    if (c == kNotYet) return Found::wait;
    if (c == kNever) return Found::no;
    if (c == '\n') {
      if (at(i + 1) == kNotYet) return Found::wait;
      if (at(i + 1) == '\n') return Found::no;
    }
    if (c == '\\') {
      ++i;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']' && --depth == 0) {
      close = i;
      return Found::yes;
    }
  }
  return Found::no;
}

// Addresses are longer than texts, and hold no space that is not inside a title.
Markup::Found Markup::find_closing_parenthesis(size_t open, size_t& close) const {
  size_t depth = 0;
  for (size_t i = open; i < open + 4 * kMaxLookAhead; ++i) {
    const char32_t c = at(i);
    if (c == kNotYet) return Found::wait;
    if (c == kNever || c == '\n') return Found::no;
    if (c == '(') {
      ++depth;
    } else if (c == ')' && --depth == 0) {
      close = i;
      return Found::yes;
    }
  }
  return Found::no;
}

// A link is read as its text, an image as its description, a footnote's number not at all.
bool Markup::bracket(size_t ahead) {
  size_t close = 0;
  switch (find_closing_bracket(ahead, close)) {
    case Found::wait: return false;
    case Found::no: return take(ahead + 1), true;
    case Found::yes: break;
  }
  const char32_t next = at(close + 1);
  if (next == kNotYet) return false;
  size_t end = close + 1;
  if (next == '(') {
    size_t parenthesis = 0;
    const Found found = find_closing_parenthesis(close + 1, parenthesis);
    if (found == Found::wait) return false;
    if (found == Found::yes) end = parenthesis + 1;
  } else if (next == '[') {
    size_t reference = 0;
    const Found found = find_closing_bracket(close + 1, reference);
    if (found == Found::wait) return false;
    if (found == Found::yes) end = reference + 1;
  } else {
    const std::u32string text = slice(ahead + 1, close);
    const bool number = !text.empty() && text.size() <= 3 && std::ranges::all_of(text, is_ascii_digit);
    if (number || (!text.empty() && text[0] == '^')) return take(close + (next == ':' ? 2 : 1)), true;
  }
  if (jumps_.size() < kMaxLookAhead) jumps_.push_back({dropped_ + head_ + close, dropped_ + head_ + end});
  return take(ahead + 1), true;
}

// Tags and comments say nothing, <https://…> is an address, every other one is a sign of comparison at most.
bool Markup::angle() {
  const char32_t next = at(1);
  if (next == kNotYet) return false;
  if (is_ascii_letter(next) || next == '/' || next == '!' || next == '?') {
    for (size_t i = 1; i < kMaxLookAhead; ++i) {
      const char32_t c = at(i);
      if (c == kNotYet) return false;
      if (c == kNever || (c == '<' && next != '!')) break;
      if (c != '>') continue;
      const std::u32string inside = slice(1, i);
      const bool comment = inside.starts_with(U"!--");
      if (comment && (inside.size() < 5 || !inside.ends_with(U"--"))) continue;
      const bool address = inside.find_first_of(U":@") != inside.npos && inside.find_first_of(U" \"'=") == inside.npos;
      if (address && is_ascii_letter(next)) {
        for (size_t k = 1; k < i; ++k) emit(at(k), k);
      } else if (const char32_t mark = tag_mark(inside); mark != 0 && !comment) {
        emit_mark(mark);
      }
      return take(i + 1), true;
    }
  }
  emit('<', 0);
  return take(1), true;
}

bool Markup::entity() {
  constexpr size_t kMaxName = 9;
  for (size_t i = 1; i <= kMaxName; ++i) {
    const char32_t c = at(i);
    if (c == kNotYet) return false;
    if (c == ';') {
      const char32_t code = entity_code(slice(1, i));
      if (code == 0) break;
      const size_t first = out_->size();
      emit(code, 0);
      (*out_)[first].end = text_[head_ + i].end;
      return take(i + 1), true;
    }
    if (!is_ascii_alnum(c) && !(c == '#' && i == 1)) break;
  }
  emit('&', 0);
  return take(1), true;
}

}  // namespace prosa::voice
