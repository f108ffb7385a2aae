// Speakable text: a written reply, as it streams in, becomes the sentences that a speech synthesiser is to say.
//
// The written reply is not touched: each spoken unit says which bytes of it it stands for. Not here: audio, engines,
// the choice of what is spoken. Give it the pieces of Channel::speech and nothing else; thoughts and tool calls are
// other channels.
//
// What comes in: UTF-8, cut anywhere, also inside a character. Broken UTF-8 is no error: it is not spoken. Markdown,
// HTML, code, emoji and lone signs are not spoken either; numbers, units, money, dates, times and addresses are written
// out so that a synthesiser can't stumble over them.
// What comes out holds letters, digits, single spaces and . , ; : ! ? ' - with their Chinese and Japanese forms.
//
// Invariants: the same text gives the same units, however it was cut into pieces, as long as SpeechState stays the same
// and no time limit strikes. Ranges of units increase and do not overlap. What lies between two units is unspoken
// (markup, code, emoji). At most kMaxHeldBack characters wait for what follows them, and the time taken is proportional
// to the text.
//
// There is no clock inside: the caller says what time it is. Thread safety: one call at a time per object.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"

namespace prosa {

enum class SpokenNumbers {
  digits,  // "12": the synthesiser reads numbers, as nearly all do
  words,   // "twelve"
};

/// What is said in place of code. A name in backticks that reads as words (`main.cpp`) is always said.
enum class SpokenCode {
  announce,  // "code example" for a block, "code" within a sentence
  skip,      // nothing
};

struct SpeakableOptions {
  /// en, de, fr, es, pt, ja or zh, with or without a region: "en" writes dates as in the USA, "en-GB" day first.
  std::string language = "en";
  SpokenNumbers numbers = SpokenNumbers::digits;
  SpokenCode code = SpokenCode::announce;
  /// The first unit may be a clause of at least so many characters (a third of it in Chinese and Japanese).
  /// 0: whole sentences from the start.
  size_t first_clause_characters = 20;
  /// While nothing is queued: text that has waited so long is given out up to its last whole word. 0: never.
  double patience_seconds = 0;
  /// A longer sentence is cut, at a clause or a word where there is one. From 40 to kMaxHeldBack / 2.
  size_t max_characters = 300;
  /// With less than this queued every sentence is given out alone, at once.
  double low_queue_seconds = 2;
  /// With more queued, sentences are joined to units of about half as long as what is queued, at this rate of speech.
  double characters_per_second = 15;
};

/// How things stand at the caller's.
struct SpeechState {
  double now_seconds = 0;     // of any clock that only goes forward
  double queued_seconds = 0;  // speech that was handed over and has not been played yet
};

/// A part of a unit's text and what it stands for; parts increase in both.
struct SpokenPart {
  size_t text_end = 0;       // bytes of SpokenUnit::text up to its end
  size_t written_begin = 0;  // bytes of the written reply
  size_t written_end = 0;
};

struct SpokenUnit {
  std::string text;           // UTF-8, never empty
  size_t written_begin = 0;   // bytes of the written reply, from the first one that is spoken here
  size_t written_end = 0;     // to the end of the last one, its full stop included
  bool ends_sentence = true;  // false: a clause or a cut; the sentence goes on in the next unit
  std::vector<SpokenPart> parts;

  /// How far in the written reply one has heard who has heard the first `text_bytes` of the text: whole parts (words)
  /// only, at least written_begin. Samples played become bytes of text in proportion.
  [[nodiscard]] size_t written_after(size_t text_bytes) const noexcept;
};

class SpeakableText {
 public:
  static constexpr size_t kMaxHeldBack = 4096;  // characters

  /// Errors: unsupported (a language that is not listed), invalid_argument (max_characters out of bounds).
  explicit SpeakableText(const SpeakableOptions& options = {});
  ~SpeakableText();
  SpeakableText(SpeakableText&&) noexcept;
  SpeakableText& operator=(SpeakableText&&) noexcept;

  /// More of the reply. Returns what can be spoken now. Error(invalid_argument) after finish().
  std::vector<SpokenUnit> write(std::string_view piece, const SpeechState& state = {});
  /// No more text, but time has passed, or the queue is shorter.
  std::vector<SpokenUnit> poll(const SpeechState& state);
  /// The reply has ended: all that is left. Nothing the second time.
  std::vector<SpokenUnit> finish();
  /// For another reply: as newly made.
  void reset();

 private:
  struct Impl;
  [[nodiscard]] Impl& impl() const;  // Error(invalid_argument) after a move
  std::unique_ptr<Impl> impl_;
};

}  // namespace prosa
