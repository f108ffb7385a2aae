// Ends, clauses and cuts (sentence_cutter.h). What a full stop means: sentence_stop.cpp.
#include "voice/sentence_cutter.h"

#include <unicode/brkiter.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <memory>

#include "voice/character_kind.h"

namespace prosa::voice {
namespace {

constexpr size_t kWordAhead = 8;  // characters behind a cut, for ICU to see whether a word goes on

}  // namespace

// What can't be spoken is not kept: a million of it would stand for nothing.
void SentenceCutter::write(const Glyph& glyph) {
  const char32_t code = glyph.code;
  const char32_t last = text_.empty() ? kBlockEnd : text_.back().code;
  if (is_mark(code)) {
    if (code == kBlockEnd && text_.empty()) return;
    if (is_mark(code) && code == last) return;
    text_.push_back(glyph);
    return;
  }
  if (is_silent(code)) return;
  if (is_space(code) || is_picture(code)) {
    if (is_space(last) || is_mark(last)) return;
    text_.push_back({' ', glyph.begin, glyph.end});
    return;
  }
  // No sense hangs on a fourth full stop, nor on a fourth sign of any kind.
  constexpr size_t kMaxSigns = 4;
  if (is_sign(code) && text_.size() >= kMaxSigns &&
      std::all_of(text_.end() - kMaxSigns, text_.end(), [](const Glyph& g) { return is_sign(g.code); })) {
    return;
  }
  text_.push_back(glyph);
}

char32_t SentenceCutter::at(size_t index) const {
  if (index < text_.size()) return text_[index].code;
  return finished_ ? kNever : kNotYet;
}

std::optional<Sentence> SentenceCutter::cut(size_t end, size_t next, bool ends) {
  Sentence sentence{{text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(end)}, ends};
  while (next < text_.size() && (is_space(at(next)) || at(next) == kBlockEnd)) ++next;
  text_.erase(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(next));
  scanned_ = 0;
  last_clause_ = 0;
  last_space_ = 0;
  return sentence;
}

std::optional<Sentence> SentenceCutter::next(size_t clause) {
  for (; scanned_ < text_.size(); ++scanned_) {
    const char32_t c = at(scanned_);
    const size_t here = scanned_;
    if (c == kBlockEnd) return cut(here, here + 1, true);
    if (c == kCodeBlock) return here > 0 ? cut(here, here, true) : cut(1, 1, true);
    Verdict verdict = Verdict::no_end;
    size_t end = here + 1;
    if (is_terminator(c)) {
      verdict = judge_stop(here, end);
      if (verdict == Verdict::end) return cut(end, end, true);
    } else if (is_space(c) || is_clause_mark(c) || c == kCellEnd) {
      verdict = judge_clause(here, clause);
      if (verdict == Verdict::end) return cut(is_space(c) ? here : end, end, false);
    }
    if (text_.size() >= max_ + kLookAhead || (verdict != Verdict::wait && here + 1 >= max_ + kWordAhead))
      return cut_long();
    if (verdict == Verdict::wait) return std::nullopt;
    if (end > max_) continue;
    if (is_clause_mark(c) && !is_ascii_digit(at(here + 1))) last_clause_ = end;
    if (c == kCellEnd) last_clause_ = end;
    if (is_space(c) && !(here > 0 && is_ascii_digit(at(here - 1)))) last_space_ = end;
  }
  if (finished_ && !text_.empty()) return cut(text_.size(), text_.size(), true);
  return std::nullopt;
}

// A clause or a word in the last two thirds, else a word as ICU sees it (Chinese and Japanese have no spaces), else
// wherever the limit is.
std::optional<Sentence> SentenceCutter::cut_long() {
  size_t end = last_clause_ > max_ / 3 ? last_clause_ : last_space_ > max_ / 3 ? last_space_ : word_boundary(max_);
  end = std::clamp<size_t>(end, 1, text_.size());
  return cut(end, end, false);
}

size_t SentenceCutter::word_boundary(size_t limit) const {
  const size_t size = std::min(text_.size(), limit + kWordAhead);
  icu::UnicodeString text;
  for (size_t i = 0; i < size; ++i) text.append(static_cast<UChar32>(is_mark(at(i)) ? ',' : at(i)));
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::BreakIterator> words(
      icu::BreakIterator::createWordInstance(icu::Locale(std::string(language_.code).c_str()), status));
  if (U_FAILURE(status)) return limit;
  words->setText(text);
  const int32_t unit = text.moveIndex32(0, static_cast<int32_t>(std::min(limit, size)));
  const int32_t boundary = words->isBoundary(unit) ? unit : words->preceding(unit);
  const auto before = static_cast<size_t>(text.countChar32(0, std::max<int32_t>(boundary, 0)));
  return before > limit / 3 ? before : limit;
}

std::optional<Sentence> SentenceCutter::force() {
  constexpr size_t kMinForced = 6;
  // The last word may still grow.
  size_t end = text_.size();
  while (end > 0 && !is_space(at(end - 1)) && !is_clause_mark(at(end - 1)) && !is_mark(at(end - 1)) &&
         !(is_cjk(at(end - 1)) && end < text_.size())) {
    --end;
  }
  // A number may go on behind a space or a comma.
  while (end > 1 && (is_ascii_digit(at(end - 1)) || is_ascii_digit(at(end - 2)))) --end;
  if (end < (language_.spaces ? kMinForced : kMinForced / 2)) return std::nullopt;
  return cut(end, end, false);
}

SentenceCutter::Verdict SentenceCutter::judge_clause(size_t index, size_t clause) const {
  const char32_t c = at(index);
  if (clause == 0 || index + 1 < clause) return Verdict::no_end;
  if (c == kCellEnd) return Verdict::end;
  if (is_space(c)) {
    // A dash between spaces, or a clause's first word once there is more than enough before it.
    const char32_t next = at(index + 1);
    if (next == kNotYet) return Verdict::wait;
    if (next == U'–' || next == U'—') return Verdict::no_end;  // it is judged itself
    if (!language_.spaces || index < 2 * clause) return Verdict::no_end;
    const auto word = word_after(index + 1);
    if (!word) return Verdict::wait;
    return is_listed(language_.conjunctions, *word) ? Verdict::end : Verdict::no_end;
  }
  const char32_t next = at(index + 1);
  if (next == kNotYet) return Verdict::wait;
  if (is_wide_clause_mark(c)) return is_closer(next) ? Verdict::no_end : Verdict::end;
  if (!is_space(next)) return Verdict::no_end;
  if (c == '-' || c == U'–' || c == U'—') return index > 0 && is_space(at(index - 1)) ? Verdict::end : Verdict::no_end;
  // "November 30, 2026" and "3, 4 or 5" stay together.
  if (index > 0 && is_ascii_digit(at(index - 1))) {
    const char32_t first = at(index + 2);
    if (first == kNotYet) return Verdict::wait;
    if (is_ascii_digit(first)) return Verdict::no_end;
  }
  return Verdict::end;
}

}  // namespace prosa::voice
