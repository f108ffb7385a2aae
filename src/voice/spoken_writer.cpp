// The last gate before a synthesiser.
#include "voice/spoken_writer.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "voice/character_kind.h"
#include "voice/glyph.h"

namespace prosa::voice {
namespace {

constexpr std::u32string_view kPauses = U",;:….!?";  // from weak to strong

// How Chinese and Japanese write a pause.
char32_t wide(char32_t sign, bool japanese) {
  switch (sign) {
    case ',': return japanese ? U'、' : U'，';
    case ';': return japanese ? U'、' : U'；';
    case ':': return U'：';
    case '.': return U'。';
    case '!': return U'！';
    case '?': return U'？';
    default: return sign;
  }
}

bool joins(char32_t c) { return c == '\'' || c == '-' || c == '.'; }
bool is_combining(char32_t c) { return is_letter(c) && !is_upper(c) && !is_lower(c) && c >= 0x300 && c < 0x370; }

}  // namespace

void SpokenWriter::append(char32_t code) {
  utf8::append(unit_.text, code);
  last_ = code;
}

void SpokenWriter::pause(char32_t sign) {
  const size_t strength = kPauses.find(sign);
  if (strength == kPauses.npos) return;
  if (pause_ == 0 || strength > kPauses.find(pause_)) pause_ = sign;
}

void SpokenWriter::character(char32_t code, size_t written_begin, size_t written_end) {
  const bool between_words = unit_.text.empty() || pause_ != 0 || space_;
  if (!is_letter(code) && !is_digit(code) && (!joins(code) || between_words)) return space();
  if (between_words && is_combining(code)) return;  // half a character
  bool separated = unit_.text.empty();
  if (!unit_.text.empty() && pause_ != 0) {
    const char32_t sign = pause_ == U'…' ? ',' : pause_;
    append(language_.spaces ? sign : wide(sign, language_.code == "ja"));
    if (language_.spaces) append(' ');
    separated = true;
  } else if (!unit_.text.empty() && space_) {
    // Chinese and Japanese part foreign words alone.
    const bool needed = language_.spaces || (!is_cjk(last_) && !is_cjk(code));
    if (needed) append(' ');
    separated = true;
  }
  pause_ = 0;
  pause_end_ = 0;
  space_ = false;
  if (unit_.parts.empty()) unit_.written_begin = written_begin;
  append(code);
  unit_.written_end = std::max(unit_.written_end, written_end);
  // Several characters may stand for one that was written ("㎞"): they are one part.
  const bool same = !unit_.parts.empty() && written_begin < unit_.parts.back().written_end;
  if (unit_.parts.empty() || (!same && (separated || is_cjk(code)))) {
    unit_.parts.push_back({unit_.text.size(), written_begin, written_end});
  } else {
    unit_.parts.back().text_end = unit_.text.size();
    unit_.parts.back().written_end = std::max(unit_.parts.back().written_end, written_end);
  }
}

void SpokenWriter::words(std::u16string_view text, size_t written_begin, size_t written_end) {
  const bool goes_on = last_ == '-' && pause_ == 0 && !space_;  // "COVID-nineteen"
  if (!goes_on) space();
  const size_t first = unit_.parts.size() - (goes_on ? 1 : 0);
  for (size_t i = 0; i < text.size(); ++i) {
    char32_t code = text[i];
    if (code >= 0xd800 && code < 0xdc00 && i + 1 < text.size()) {
      code = 0x10000 + ((code - 0xd800) << 10) + (text[++i] - 0xdc00U);
    }
    // A full stop or hyphen within stays ("30. November", "twenty-six"); before a space it belongs to its word.
    if (joins(code)) {
      if (!space_ && pause_ == 0 && last_ != ' ' && !unit_.text.empty()) {
        append(code);
        unit_.parts.back().text_end = unit_.text.size();
      }
      continue;
    }
    const bool within_number =
        code == ',' && !space_ && i + 1 < text.size() && is_digit(last_) && is_digit(text[i + 1]);
    if (within_number) {
      append(code);
    } else if (code == ',' || code == ':') {
      pause(code);
    } else {
      character(code, written_begin, written_end);
    }
  }
  if (unit_.parts.size() > first + 1) {  // they are one part
    unit_.parts[first].text_end = unit_.parts.back().text_end;
    unit_.parts[first].written_end = unit_.parts.back().written_end;
    unit_.parts.resize(first + 1);
  }
}

SpokenUnit SpokenWriter::finish(bool ends_sentence) {
  if (!unit_.text.empty()) {
    char32_t sign = pause_ == U'…' ? U'.' : pause_;
    if (ends_sentence && (sign == 0 || sign == ',' || sign == ';')) sign = '.';
    if (sign != 0 && !(sign == '.' && last_ == '.'))
      append(language_.spaces ? sign : wide(sign, language_.code == "ja"));
    unit_.parts.back().text_end = unit_.text.size();
    unit_.written_end = std::max(unit_.written_end, pause_end_);
    unit_.parts.back().written_end = unit_.written_end;
  }
  unit_.ends_sentence = ends_sentence;
  return std::move(unit_);
}

}  // namespace prosa::voice
