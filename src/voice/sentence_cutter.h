// Where sentences end, found while the text streams in.
//
// The rules are those of Unicode's sentence boundaries (UAX #29, with ICU's character classes) with what running text
// needs on top: abbreviations, initials, ordinals, quotes and brackets that close behind the full stop. Not here: what
// the sentence sounds like. It does not split what has no end and is short enough; a longer sentence is cut.
//
// Invariants: glyphs come out once each, in order, but for spaces that follow spaces or begin a sentence, repeated
// punctuation and pictures, which are dropped. An end is told as soon as what follows can't undo it, and depends on the
// glyphs alone. At most max_characters + kLookAhead glyphs are held.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "voice/glyph.h"
#include "voice/language.h"

namespace prosa::voice {

struct Sentence {
  Glyphs glyphs;
  bool ends = true;  // false: a clause or a cut, the sentence goes on
};

class SentenceCutter {
 public:
  static constexpr size_t kLookAhead = 64;

  SentenceCutter(const Language& language, size_t max_characters) : language_(language), max_(max_characters) {}

  void write(const Glyph& glyph);
  void finish() { finished_ = true; }
  /// The next sentence that is certain. `clause`: a clause of at least so many characters will do; 0: no.
  std::optional<Sentence> next(size_t clause);
  /// What there is, up to its last whole word; nothing if that is no word.
  std::optional<Sentence> force();
  [[nodiscard]] bool empty() const { return text_.empty(); }

 private:
  static constexpr char32_t kNotYet = 0x110010;
  static constexpr char32_t kNever = 0x110011;
  enum class Verdict { end, no_end, wait };

  [[nodiscard]] char32_t at(size_t index) const;
  std::optional<Sentence> cut(size_t end, size_t next, bool ends);
  std::optional<Sentence> cut_long();
  [[nodiscard]] size_t word_boundary(size_t limit) const;
  Verdict judge_stop(size_t stop, size_t& end) const;
  Verdict judge_abbreviation(size_t stop, size_t next) const;
  Verdict judge_letter(size_t stop, size_t next, const std::u16string& word) const;
  Verdict judge_ordinal(size_t stop, size_t next) const;
  Verdict judge_clause(size_t index, size_t clause) const;
  [[nodiscard]] std::u16string word_before(size_t index, size_t& begin) const;
  /// The word that begins at `index`, in small letters; nothing while it may go on.
  [[nodiscard]] std::optional<std::u16string> word_after(size_t index) const;

  const Language& language_;
  size_t max_;
  Glyphs text_;
  size_t scanned_ = 0;      // glyphs before it end nothing
  size_t last_clause_ = 0;  // behind the last comma and its like, and behind the last space
  size_t last_space_ = 0;
  bool finished_ = false;
};

}  // namespace prosa::voice
