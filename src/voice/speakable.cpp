// The public SpeakableText: bytes to characters, to text, to sentences, to units as long as the queue allows.
#include "prosa/speakable.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "voice/language.h"
#include "voice/markup.h"
#include "voice/renderer.h"
#include "voice/sentence_cutter.h"

namespace prosa {

size_t SpokenUnit::written_after(size_t text_bytes) const noexcept {
  size_t written = written_begin;
  for (const SpokenPart& part : parts) {
    if (part.text_end > text_bytes) break;
    written = part.written_end;
  }
  return written;
}

struct SpeakableText::Impl {
  explicit Impl(const SpeakableOptions& given)
      : options(given),
        language(voice::find_language(given.language)),
        renderer(language, given),
        markup(given.code == SpokenCode::announce),
        cutter(std::in_place, language, given.max_characters) {}

  void read(std::string_view piece, const SpeechState& state);
  void read_glyph(const voice::Glyph& glyph, const SpeechState& state);
  void take_sentences(const SpeechState& state);
  void add(SpokenUnit unit, const SpeechState& state);
  void give(SpokenUnit unit);
  [[nodiscard]] size_t wanted_characters(const SpeechState& state) const;
  [[nodiscard]] size_t clause_characters() const;
  void hurry(const SpeechState& state);
  std::vector<SpokenUnit> taken() { return std::exchange(ready, {}); }

  SpeakableOptions options;
  const voice::Language& language;
  voice::Renderer renderer;
  voice::Markup markup;
  std::optional<voice::SentenceCutter> cutter;
  std::string unfinished;  // the bytes of a character whose end has yet to come
  size_t read_bytes = 0;   // of the written reply, before `unfinished`
  voice::Glyphs glyphs;
  std::optional<SpokenUnit> joined;  // sentences that wait for more, because much is queued
  std::optional<double> waiting_since;
  std::vector<SpokenUnit> ready;
  bool started = false;
  bool finished = false;
};

void SpeakableText::Impl::read(std::string_view piece, const SpeechState& state) {
  std::string buffer = std::move(unfinished);
  unfinished.clear();
  buffer.append(piece);
  size_t at = 0;
  while (at < buffer.size()) {
    const utf8::Step step = utf8::step(buffer, at);
    if (step.unfinished && !finished) break;
    read_glyph({step.code, read_bytes, read_bytes + step.size}, state);
    at += step.size;
    read_bytes += step.size;
  }
  unfinished = buffer.substr(at);
}

void SpeakableText::Impl::read_glyph(const voice::Glyph& glyph, const SpeechState& state) {
  glyphs.clear();
  markup.write(glyph, glyphs);
  for (const voice::Glyph& text : glyphs) {
    cutter->write(text);
    take_sentences(state);
  }
}

size_t SpeakableText::Impl::clause_characters() const {
  if (started || options.first_clause_characters == 0) return 0;
  return language.spaces ? options.first_clause_characters : std::max<size_t>(options.first_clause_characters / 3, 1);
}

void SpeakableText::Impl::take_sentences(const SpeechState& state) {
  while (auto sentence = cutter->next(clause_characters())) add(renderer.render(*sentence), state);
}

// Half of what is queued, in characters: then the next unit is there long before the queue is empty.
size_t SpeakableText::Impl::wanted_characters(const SpeechState& state) const {
  if (state.queued_seconds <= options.low_queue_seconds) return 0;
  const double wanted = state.queued_seconds / 2 * options.characters_per_second;
  return static_cast<size_t>(std::min(wanted, static_cast<double>(options.max_characters)));
}

void SpeakableText::Impl::add(SpokenUnit unit, const SpeechState& state) {
  waiting_since.reset();
  if (unit.text.empty()) return;
  started = true;
  if (!joined) {
    joined = std::move(unit);
  } else if (joined->text.size() + unit.text.size() > options.max_characters * 2) {
    give(*std::exchange(joined, std::move(unit)));
  } else {
    if (language.spaces) joined->text += ' ';
    const size_t shift = joined->text.size();
    for (SpokenPart part : unit.parts) {
      part.text_end += shift;
      joined->parts.push_back(part);
    }
    joined->text += unit.text;
    joined->written_end = unit.written_end;
    joined->ends_sentence = unit.ends_sentence;
  }
  if (joined->text.size() >= wanted_characters(state)) give(*std::exchange(joined, std::nullopt));
}

void SpeakableText::Impl::give(SpokenUnit unit) { ready.push_back(std::move(unit)); }

// When nothing is queued any more, half a sentence is better than silence.
void SpeakableText::Impl::hurry(const SpeechState& state) {
  if (joined && joined->text.size() >= wanted_characters(state)) give(*std::exchange(joined, std::nullopt));
  if (cutter->empty()) {
    waiting_since.reset();
    return;
  }
  if (!waiting_since) waiting_since = state.now_seconds;
  if (options.patience_seconds <= 0 || state.queued_seconds > 0) return;
  if (state.now_seconds - *waiting_since < options.patience_seconds) return;
  if (auto sentence = cutter->force()) {
    add(renderer.render(*sentence), state);
    if (joined) give(*std::exchange(joined, std::nullopt));
  }
}

SpeakableText::SpeakableText(const SpeakableOptions& options) {
  if (options.max_characters < 40 || options.max_characters > kMaxHeldBack / 2) {
    throw Error(ErrorCode::invalid_argument, "max_characters is " + std::to_string(options.max_characters),
                "SpeakableOptions", "use 40 to " + std::to_string(kMaxHeldBack / 2));
  }
  impl_ = std::make_unique<Impl>(options);
}

SpeakableText::~SpeakableText() = default;
SpeakableText::SpeakableText(SpeakableText&&) noexcept = default;
SpeakableText& SpeakableText::operator=(SpeakableText&&) noexcept = default;

SpeakableText::Impl& SpeakableText::impl() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "this SpeakableText was moved from", "SpeakableText");
  return *impl_;
}

std::vector<SpokenUnit> SpeakableText::write(std::string_view piece, const SpeechState& state) {
  Impl& self = impl();
  if (self.finished) {
    throw Error(ErrorCode::invalid_argument, "text after the end of the reply", "SpeakableText::write",
                "call reset() before the next reply");
  }
  self.read(piece, state);
  self.hurry(state);
  return self.taken();
}

std::vector<SpokenUnit> SpeakableText::poll(const SpeechState& state) {
  Impl& self = impl();
  self.hurry(state);
  return self.taken();
}

std::vector<SpokenUnit> SpeakableText::finish() {
  Impl& self = impl();
  if (self.finished) return {};
  self.finished = true;
  self.read({}, {});
  self.glyphs.clear();
  self.markup.finish(self.glyphs);
  const SpeechState state;
  for (const voice::Glyph& text : self.glyphs) {
    self.cutter->write(text);
    self.take_sentences(state);
  }
  self.cutter->finish();
  self.take_sentences(state);
  if (self.joined) self.give(*std::exchange(self.joined, std::nullopt));
  return self.taken();
}

void SpeakableText::reset() {
  Impl& self = impl();
  self.markup = voice::Markup(self.options.code == SpokenCode::announce);
  self.cutter.emplace(self.language, self.options.max_characters);
  self.unfinished.clear();
  self.read_bytes = 0;
  self.joined.reset();
  self.waiting_since.reset();
  self.ready.clear();
  self.started = false;
  self.finished = false;
}

}  // namespace prosa
