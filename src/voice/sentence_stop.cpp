// What a full stop, question or exclamation mark means: the end of a sentence, or a part of a word.
#include <unicode/uchar.h>

#include <algorithm>

#include "voice/character_kind.h"
#include "voice/sentence_cutter.h"

namespace prosa::voice {
namespace {

void append_lower(std::u16string& word, char32_t c) {
  const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
  if (lower < 0x10000) word.push_back(static_cast<char16_t>(lower));  // beyond it nothing is listed
}

// "u.s", "ph.d": one or two letters between full stops. An address has longer parts.
bool is_dotted(const std::u16string& word) {
  size_t part = 0;
  for (const char16_t c : word) {
    if (c == u'-' && part == 0) continue;  // "J.-P."
    part = c == u'.' ? 0 : part + 1;
    if (part > 2 || (c != u'.' && !is_letter(c))) return false;
  }
  return word.find(u'.') != word.npos;
}

}  // namespace

// Up to three characters are looked at behind the signs that close: a space and the next sentence's first.
SentenceCutter::Verdict SentenceCutter::judge_stop(size_t stop, size_t& end) const {
  constexpr size_t kMaxClosers = 6;
  size_t i = stop + 1;
  while (is_terminator(at(i))) ++i;
  const bool run = i > stop + 1;
  const size_t closers = i;
  while (i < closers + kMaxClosers && is_closer(at(i))) ++i;
  bool closed = i > closers;
  if (at(i) == ' ') {  // « … ! »
    if (at(i + 1) == kNotYet && language_.code == "fr") return Verdict::wait;
    if (at(i + 1) == U'»') {
      i += 2;
      closed = true;
    }
  }
  end = i;
  const char32_t next = at(i);
  if (next == kNotYet) return Verdict::wait;
  if (next == kNever || is_mark(next)) return Verdict::end;
  const char32_t sign = at(stop);
  const bool asks = std::any_of(text_.begin() + static_cast<std::ptrdiff_t>(stop),
                                text_.begin() + static_cast<std::ptrdiff_t>(closers),
                                [](const Glyph& g) { return g.code != '.' && g.code != U'…'; });
  if (is_wide_terminator(sign)) {
    // 「行くぞ。」と言った: the quotation is a part of its sentence.
    return closed && (next == U'と' || is_wide_clause_mark(next)) ? Verdict::no_end : Verdict::end;
  }
  if (is_cjk(next)) return !asks && stop > 0 && is_digit(at(stop - 1)) ? Verdict::no_end : Verdict::end;
  if (!is_space(next)) return Verdict::no_end;
  if (asks && !closed) return Verdict::end;
  size_t first = i + 1;
  while (is_opener(at(first)) && first < i + kMaxClosers) ++first;
  const char32_t c = at(first);
  if (c == kNotYet) return Verdict::wait;
  if (c == kNever || is_mark(c)) return Verdict::end;
  if (is_lower(c)) return Verdict::no_end;
  if (asks || run || closed || sign == U'…') return Verdict::end;
  return judge_abbreviation(stop, first);
}

std::u16string SentenceCutter::word_before(size_t index, size_t& begin) const {
  constexpr size_t kMaxWord = 24;
  begin = index;
  while (begin > 0 && index - begin < kMaxWord && !is_space(at(begin - 1)) && !is_mark(at(begin - 1)) &&
         at(begin - 1) != 0xa0 && !is_opener(at(begin - 1))) {
    --begin;
  }
  std::u16string word;
  for (size_t i = begin; i < index; ++i) append_lower(word, at(i));
  return word;
}

std::optional<std::u16string> SentenceCutter::word_after(size_t index) const {
  constexpr size_t kMaxWord = 16;
  std::u16string word;
  for (size_t i = index; i < index + kMaxWord; ++i) {
    const char32_t c = at(i);
    if (c == kNotYet) return std::nullopt;
    if (c == kNever || !(is_letter(c) || c == '\'')) return word;
    append_lower(word, c);
  }
  return word;
}

SentenceCutter::Verdict SentenceCutter::judge_abbreviation(size_t stop, size_t next) const {
  size_t begin = 0;
  const std::u16string word = word_before(stop, begin);
  if (word.empty()) return Verdict::end;
  const std::u16string written = word + u'.';
  const auto& list = language_.abbreviations;
  const auto known = std::ranges::find_if(list, [&](const Abbreviation& a) { return a.written == written; });
  if (known != list.end()) {
    if (known->stop == Stop::inside) return Verdict::no_end;
    if (known->stop == Stop::maybe) return Verdict::end;  // small letters behind it were seen before
    if (is_digit(at(next))) return Verdict::no_end;
    if (word.size() > 1) return Verdict::end;  // else it may be an initial
  }
  if (std::ranges::all_of(word, [](char16_t c) { return is_ascii_digit(c); })) return judge_ordinal(stop, next);
  // "Hauptstr. 5"
  if (language_.code == "de" && word.ends_with(u"str") && is_digit(at(next))) return Verdict::no_end;
  if (word.size() == 1 && is_letter(word[0])) return judge_letter(stop, next, word);
  if (is_dotted(word)) {
    // "U.S. Army", but "in the U.S. The"; "z.B. Autos", whose parts are listed as one word, was found above.
    const auto following = word_after(next);
    if (!following) return Verdict::wait;
    if (language_.starters.empty()) return Verdict::no_end;
    return is_listed(language_.starters, *following) ? Verdict::end : Verdict::no_end;
  }
  return Verdict::end;
}

// "J. R. R. Tolkien", "z. B. Autos", but "So do I. Then", "Vitamin C. It", "Solve for x. Then".
SentenceCutter::Verdict SentenceCutter::judge_letter(size_t stop, size_t next, const std::u16string& word) const {
  if (language_.code == "en" && word == u"i") return Verdict::end;
  if (is_letter(at(next))) {  // another letter with a full stop goes on with it
    if (at(next + 1) == kNotYet) return Verdict::wait;
    if (at(next + 1) == '.') return Verdict::no_end;
  }
  size_t begin = stop - 1;
  std::u16string before;
  if (begin > 0) before = word_before(begin - 1, begin);
  if (!before.empty() && before.back() == u'.') return Verdict::no_end;
  if (is_lower(at(stop - 1))) return language_.code == "de" ? Verdict::no_end : Verdict::end;
  return is_listed(language_.before_letter, before) ? Verdict::end : Verdict::no_end;
}

// German writes ordinals with a full stop: "am 3. Mai", "im 19. Jahrhundert", but "Es waren 25. Dann".
SentenceCutter::Verdict SentenceCutter::judge_ordinal(size_t stop, size_t next) const {
  if (language_.before_ordinal.empty()) return Verdict::end;
  size_t begin = 0;
  const std::u16string number = word_before(stop, begin);
  if (number.size() > 3) return Verdict::end;
  if (is_digit(at(next))) return Verdict::no_end;  // "30. 11. 2026"
  if (begin > 0) {
    size_t before_begin = 0;
    if (is_listed(language_.before_ordinal, word_before(begin - 1, before_begin))) return Verdict::no_end;
  }
  const auto following = word_after(next);
  if (!following) return Verdict::wait;
  return is_listed(language_.after_ordinal, *following) ? Verdict::no_end : Verdict::end;
}

}  // namespace prosa::voice
