// The mouth of a voice pipeline: a thread that turns written pieces into spoken units, and units into sound.
//
// Decides how a text is said and when it is handed to the synthesizer; not what is said, nor whether it is played.
// Invariant: no sound of a revision that is not the newest is made for longer than the synthesizer takes to end. Thread
// safety: every call from any thread; none waits for the synthesizer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "prosa/speakable.h"
#include "prosa/voice_parts.h"
#include "voice/playback.h"

namespace prosa::voice {

/// What a speaker does, told on its thread.
class SpeakerEvents {
 public:
  virtual ~SpeakerEvents() = default;
  virtual void sentence(int64_t revision, const SpokenUnit& unit, bool first) = 0;  // handed to the synthesizer
  virtual void speaking_failed(int64_t revision, const std::string& what) = 0;      // the rest is not spoken
};

class Speaker {
 public:
  /// `playback` and `events` outlive the speaker. `rate`: that of the playback.
  Speaker(std::unique_ptr<TextToSpeech> engine, const SpeakableOptions& speakable, int rate, Playback& playback,
          SpeakerEvents& events);
  ~Speaker();
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  /// A reply begins; what was to be said of another is forgotten. `waited`: for so long the user has waited for words
  /// that are there; counts for the patience with the first of them.
  void begin(int64_t revision, std::chrono::microseconds waited = {});
  /// Its next piece, as it was written.
  void write(int64_t revision, const std::string& text);
  /// All of it is written, and may be said; whether it is over is not yet known.
  void complete(int64_t revision);
  /// It is complete, and over once it is played.
  void finish(int64_t revision);
  /// Nothing of any reply is said any more.
  void drop();

  /// Nothing is left to be said or made into sound.
  [[nodiscard]] bool idle() const;

 private:
  struct Item {
    enum class Kind { begin, write, complete, finish };
    Kind kind;
    int64_t revision = 0;
    std::string text = {};
    std::optional<double> waiting_since = {};  // seconds of the steady clock
  };

  void work(const std::stop_token& stop);
  void end(Item::Kind kind, int64_t revision);
  void obey(Item& item);
  void say_all(std::vector<SpokenUnit> units);
  void say(SpokenUnit unit);
  [[nodiscard]] bool current() const;
  [[nodiscard]] SpeechState state() const;

  const std::unique_ptr<TextToSpeech> engine_;
  const int rate_;
  Playback& playback_;
  SpeakerEvents& events_;

  // Of the thread alone.
  SpeakableText speakable_;
  int64_t speaking_ = 0;                 // the revision of what speakable_ holds
  bool first_ = true;                    // no unit of it was handed over
  std::optional<double> waiting_since_;  // for its first words, until they are there; seconds of the steady clock
  bool failed_ = false;
  std::atomic<bool> open_ = false;  // more of it is to come

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Item> items_;
  int64_t newest_ = 0;
  bool busy_ = false;
  bool ended_ = false;   // the thread
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace prosa::voice
