// The text of a unit while it grows: words, pauses between them, and what of the written reply each word stands for.
//
// The last gate before a synthesiser: whatever is given to it, only letters, digits, single spaces and the few signs
// that make a pause leave it. A pause is written when the next word comes, the strongest of several; none at the front.
#pragma once

#include <cstddef>
#include <string_view>

#include "prosa/speakable.h"
#include "voice/language.h"

namespace prosa::voice {

class SpokenWriter {
 public:
  explicit SpokenWriter(const Language& language) : language_(language) {}

  /// A character of the word that stands at the end. Between two letters or digits it may also be ' - or a full stop.
  void character(char32_t code, size_t written_begin, size_t written_end);
  /// Words that stand for these bytes as a whole.
  void words(std::u16string_view text, size_t written_begin, size_t written_end);
  void space() { space_ = true; }
  /// One of , ; : . ! ? and … (which becomes a comma between words, a full stop at the end).
  void pause(char32_t sign);
  /// The pause that was asked for last stands there, up to `written_end`: it belongs to the unit if it ends it.
  void pause_ends(size_t written_end) { pause_end_ = written_end; }
  /// The unit; its text is empty where nothing was spoken.
  SpokenUnit finish(bool ends_sentence);

 private:
  void append(char32_t code);

  const Language& language_;
  SpokenUnit unit_;
  char32_t last_ = 0;   // that was written
  char32_t pause_ = 0;  // to be written before the next word
  size_t pause_end_ = 0;
  bool space_ = false;
};

}  // namespace prosa::voice
