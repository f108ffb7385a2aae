// A sentence of written text as a synthesiser is to say it.
//
// Invariant: every letter and digit of the sentence is in the text, itself or within the words that stand for it; what
// each word stands for is said with it. The sentence is whole: nothing waits here.
#pragma once

#include "prosa/speakable.h"
#include "voice/language.h"
#include "voice/sentence_cutter.h"
#include "voice/spoken_writer.h"
#include "voice/token_rules.h"

namespace prosa::voice {

class Renderer {
 public:
  Renderer(const Language& language, const SpeakableOptions& options)
      : language_(language), rules_(language, options) {}

  /// The text is empty where the sentence has nothing to say.
  SpokenUnit render(const Sentence& sentence);

 private:
  void add(const Glyph& glyph);
  [[nodiscard]] char32_t at(size_t index) const { return index < text_.size() ? text_[index] : 0; }
  /// The next and the last character that is no space.
  [[nodiscard]] char32_t beyond(size_t index) const;
  [[nodiscard]] char32_t before(size_t index) const;
  [[nodiscard]] bool is_range(size_t index) const;
  size_t step(size_t index, SpokenWriter& out);
  size_t word(size_t index, SpokenWriter& out);
  size_t sign(size_t index, SpokenWriter& out);
  void say(std::u16string_view words, size_t begin, size_t end, SpokenWriter& out) const;

  const Language& language_;
  TokenRules rules_;
  std::u16string text_;
  std::vector<Glyph> glyphs_;  // of each UTF-16 unit of text_
};

}  // namespace prosa::voice
