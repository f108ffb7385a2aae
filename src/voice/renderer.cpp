// A sentence, from its first character to its last: rules for what they know, signs one by one, letters as they are.
#include "voice/renderer.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <string_view>

#include "base/check.h"
#include "voice/character_kind.h"
#include "voice/glyph.h"

namespace prosa::voice {
namespace {

using std::string_view_literals::operator""sv;

// Marks in UTF-16: private characters, of which none reaches a sentence.
constexpr char16_t kCell = 0xe000;
constexpr char16_t kCode = 0xe001;
constexpr char16_t kBlock = 0xe002;

// Characters that are another one in disguise: wide letters, mathematical ones, ligatures, units in one sign.
bool is_disguised(char32_t c) {
  return (c >= 0xff01 && c <= 0xff5d && c != U'，') || (c >= 0x3300 && c <= 0x33ff) || (c >= 0x1d400 && c <= 0x1d7ff) ||
         (c >= 0xfb00 && c <= 0xfb06) || (c >= 0x2160 && c <= 0x217f) || (c >= 0x2460 && c <= 0x2473) || c == 0x2103 ||
         c == 0x2109;
}

bool is_word_sign(char32_t c) { return c == '\'' || c == U'’' || c == '-' || c == U'‐' || c == U'‑'; }
// A letter behind it is no word's first.
bool continues_word(char32_t c) { return is_word_sign(c) || c == '.' || c == '@' || c == '/' || c == '_'; }
bool is_operand(char32_t c) {
  return c != 0 && (is_letter(c) || is_digit(c) || U"()²³%°½"sv.find(c) != std::u32string_view::npos);
}
bool is_plain(char32_t c) { return is_letter(c) || is_digit(c); }
bool is_range_sign(char32_t c) { return c == '-' || c == U'–' || c == U'〜' || c == U'～' || c == U'‑'; }
/// Where a number may begin besides at a digit.
bool begins_number(char32_t c) {
  return c == '$' || c == U'€' || c == U'£' || c == U'¥' || c == '+' || c == '(' || c == U'½' || c == U'⅓' ||
         c == U'⅔' || c == U'¼' || c == U'¾';
}

}  // namespace

void Renderer::add(const Glyph& glyph) {
  const auto push = [&](char16_t unit) {
    text_.push_back(unit);
    glyphs_.push_back(glyph);
  };
  switch (glyph.code) {
    case kCellEnd:
    case kBlockEnd: return push(kCell);
    case kInlineCode: return push(kCode);
    case kCodeBlock: return push(kBlock);
    case U'−': return push(u'-');
    default: break;
  }
  icu::UnicodeString units(static_cast<UChar32>(glyph.code));
  if (is_disguised(glyph.code)) {
    UErrorCode status = U_ZERO_ERROR;
    units = icu::Normalizer2::getNFKCInstance(status)->normalize(units, status);
    PROSA_CHECK(U_SUCCESS(status));
  }
  for (int32_t i = 0; i < units.length(); ++i) push(units.charAt(i));
}

SpokenUnit Renderer::render(const Sentence& sentence) {
  text_.clear();
  glyphs_.clear();
  for (const Glyph& glyph : sentence.glyphs) add(glyph);
  const icu::UnicodeString view(false, text_.data(), static_cast<int32_t>(text_.size()));
  rules_.look_at(view);
  SpokenWriter out(language_);
  for (size_t i = 0; i < text_.size();) i = step(i, out);
  return out.finish(sentence.ends);
}

char32_t Renderer::beyond(size_t index) const {
  while (at(index) == ' ' || at(index) == 0xa0) ++index;
  return at(index);
}

char32_t Renderer::before(size_t index) const {
  while (index > 0 && (at(index - 1) == ' ' || at(index - 1) == 0xa0)) --index;
  return index > 0 ? at(index - 1) : 0;
}

void Renderer::say(std::u16string_view words, size_t begin, size_t end, SpokenWriter& out) const {
  out.words(words, glyphs_[begin].begin, glyphs_[end - 1].end);
}

size_t Renderer::step(size_t index, SpokenWriter& out) {
  const char32_t c = at(index);
  switch (c) {
    case ' ':
    case 0xa0: out.space(); return index + 1;
    case kCell: out.pause(','); return index + 1;
    case kCode:
      say(language_.signs.inline_code, index, index + 1, out);
      out.space();
      return index + 1;
    case kBlock:
      say(language_.signs.code_block, index, index + 1, out);
      out.pause('.');
      return index + 1;
    default: break;
  }
  const char32_t last = index > 0 ? at(index - 1) : 0;
  // "COVID-19" is a name.
  const bool name_goes_on = is_word_sign(last) && index > 1 && is_letter(at(index - 2)) && !is_cjk(at(index - 2));
  const bool fresh = !name_goes_on && (!is_plain(last) || is_cjk(last));
  // After "A" or "iPhone" a digit is a part of the name, unless numbers are to be words.
  if ((is_ascii_digit(c) && !is_ascii_digit(last)) || (fresh && begins_number(c) && !(c == '+' && is_plain(last)))) {
    const bool in_name = is_ascii_digit(c) && !fresh;
    if (!in_name || rules_.numbers_are_words()) {
      if (auto said = rules_.at_number(index)) {
        // 時速5km/h: ICU's name of the unit begins with what stands there already.
        constexpr size_t kUnitWord = 2;
        if (!language_.spaces && index >= kUnitWord) {
          const std::u16string_view before = std::u16string_view(text_).substr(index - kUnitWord, kUnitWord);
          if (said->text.starts_with(before)) said->text.erase(0, kUnitWord);
          if (before == u"时速" && said->text.starts_with(u"每小时")) said->text.erase(0, 3);
        }
        say(said->text, index, said->end, out);
        // What follows directly is another word, but for an apostrophe or a hyphen.
        if (is_letter(at(said->end)) || at(said->end) == kCode) out.space();
        return said->end;
      }
    }
  }
  if (is_plain(c) || (c >= 0xd800 && c < 0xe000)) return word(index, out);
  if (is_terminator(c) || c == ',' || c == ';' || c == ':') out.pause_ends(glyphs_[index].end);
  return sign(index, out);
}

size_t Renderer::word(size_t index, SpokenWriter& out) {
  const char32_t last = index > 0 ? at(index - 1) : 0;
  if (is_letter(at(index)) && !is_cjk(at(index)) && (!is_plain(last) || is_cjk(last)) && !continues_word(last)) {
    if (auto said = rules_.at_word(index)) {
      const bool capital = before(index) == 0 && is_upper(at(index)) && !said->text.empty();
      if (capital) said->text[0] = static_cast<char16_t>(u_toupper(said->text[0]));
      say(said->text, index, said->end, out);
      if (said->pause && beyond(said->end) == 0) out.pause('.');
      if (is_plain(at(said->end))) out.space();
      return said->end;
    }
  }
  char32_t code = at(index);
  size_t end = index + 1;
  if (code >= 0xd800 && code < 0xdc00) code = 0x10000 + ((code - 0xd800) << 10) + (at(end++) - 0xdc00U);
  out.character(code, glyphs_[index].begin, glyphs_[index].end);
  return end;
}

// 5-10, 10–15, 9:00 – 17:00
bool Renderer::is_range(size_t index) const {
  const char32_t c = at(index);
  if (!is_range_sign(c)) return false;
  if (c == '-' && at(index - 1) == ' ') return false;
  const char32_t last = before(index);
  const char32_t next = beyond(index + 1);
  // a–m, 12A–12C
  const auto is_short = [&](char32_t near, char32_t beside) {
    return is_digit(near) || (is_ascii_letter(near) && (is_digit(beside) || !is_plain(beside)));
  };
  if (c == U'–' && is_plain(at(index - 1)) && is_plain(at(index + 1)) &&
      is_short(at(index - 1), index > 1 ? at(index - 2) : 0) && is_short(at(index + 1), at(index + 2))) {
    return true;
  }
  const bool left = is_digit(last) || last == '%' || last == U'°' || last == U'€';
  return left && (is_digit(next) || next == '$' || next == U'€' || next == U'£');
}

size_t Renderer::sign(size_t index, SpokenWriter& out) {
  const char32_t c = at(index);
  const char32_t last = index > 0 ? at(index - 1) : 0;
  const char32_t next = at(index + 1);
  const SignWords& words = language_.signs;
  const auto say_word = [&](std::u16string_view text) {
    say(text, index, index + 1, out);
    out.space();
    return index + 1;
  };
  const bool between = index > 0 && is_operand(before(index)) && is_operand(beyond(index + 1));
  const bool compares = between && (is_digit(before(index)) || is_digit(beyond(index + 1)));
  if (index > 0 && is_range(index)) return say_word(words.to);
  if (is_word_sign(c) && is_plain(last) && is_plain(next)) {
    const bool apostrophe = c == '\'' || c == U'’';
    out.character(apostrophe ? '\'' : '-', glyphs_[index].begin, glyphs_[index].end);
    return index + 1;
  }
  switch (c) {
    case '.':
      if (is_plain(last) && is_plain(next) && !is_cjk(next)) {
        out.character('.', glyphs_[index].begin, glyphs_[index].end);
      } else {
        out.pause(next == '.' || last == '.' ? U'…' : U'.');
      }
      return index + 1;
    case ':':
      if (next == 0 || next == ' ' || next == kCell || is_closer(next) || is_cjk(next) || is_cjk(last)) out.pause(':');
      break;
    case ',':
    case ';':
    case '!':
    case '?': out.pause(c); return index + 1;
    case U'…': out.pause(c); return index + 1;
    case U'。':
    case U'｡': out.pause('.'); return index + 1;
    case U'、':
    case U'，': out.pause(','); return index + 1;
    case U'‼':
    case U'⁉': out.pause('!'); return index + 1;
    case U'⁇':
    case U'⁈': out.pause('?'); return index + 1;
    case '(':
    case ')':
    case U'—':
    case U'→': out.pause(','); return index + 1;
    case U'–': out.pause(','); return index + 1;
    case '-':
      if (is_ascii_digit(next) && !is_plain(last)) return say_word(words.minus);
      if (last == ' ' && next == ' ') out.pause(',');
      break;
    case '&':
      if (between) return say_word(words.and_);
      break;
    case '%': return is_digit(before(index)) ? say_word(words.percent) : (out.space(), index + 1);
    case '@':
      if (is_letter(next)) return say_word(words.at);
      break;
    case '#':
      if (is_ascii_digit(next)) return say_word(words.number);
      if ((last == 'C' || last == 'F') && !is_plain(next) && (index < 2 || !is_plain(at(index - 2))))
        return say_word(u"sharp");
      break;
    case U'€':
    case U'£': return say_word(rules_.currency_name(static_cast<char16_t>(c)));  // "in €"
    case U'№': return say_word(words.number);
    case '+':
      if (between || is_ascii_digit(next) || (is_plain(last) && next == '+') || last == '+')
        return say_word(words.plus);
      break;
    case '=':
      if (between) return say_word(words.equals);
      break;
    case U'×':
      if (between) return say_word(words.times);
      break;
    case U'÷':
      if (between) return say_word(words.divided);
      break;
    case U'±':
      if (is_digit(beyond(index + 1))) return say_word(words.plus_minus);
      break;
    case U'≈':
      if (is_digit(beyond(index + 1))) return say_word(words.about);
      break;
    case '<':
      if (compares) return say_word(words.less);
      break;
    case '>':
      if (compares) return say_word(words.greater);
      break;
    case U'≤':
      if (is_plain(beyond(index + 1))) return say_word(words.at_most);
      break;
    case U'≥':
      if (is_plain(beyond(index + 1))) return say_word(words.at_least);
      break;
    case U'§':
      if (is_digit(beyond(index + 1))) return say_word(words.section);
      break;
    case U'°':
      if (is_digit(last)) return say_word(words.degrees);
      break;
    case '^':
      if ((next == '2' || next == '3') && !is_plain(at(index + 2))) {
        say(next == '2' ? words.squared : words.cubed, index, index + 2, out);
        return index + 2;
      }
      break;
    case U'²':
      if (is_plain(last)) return say_word(words.squared);
      break;
    case U'³':
      if (is_plain(last)) return say_word(words.cubed);
      break;
    default: break;
  }
  // Every other sign says nothing; it parts words unless it is a quote within one.
  if (!(is_closer(c) || is_opener(c)) || (is_plain(last) && is_plain(next))) out.space();
  return index + 1;
}

}  // namespace prosa::voice
