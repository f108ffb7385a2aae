// What is to be played, sample by sample, and how much of it was.
//
// The synthesizer's thread fills it, the sound card's thread empties it; the words stand beside the samples, so that
// what was heard is known to the character. No resampling, no synthesis. Invariant: what is played belongs to the
// newest revision; what another adds is refused. Thread safety: every call from any thread; pull() holds the lock for a
// copy of its samples only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "prosa/speakable.h"

namespace prosa::voice {

class Playback {
 public:
  using Time = std::chrono::microseconds;

  /// Samples a second; add() waits while more than `most` is queued.
  explicit Playback(int rate, Time most = std::chrono::seconds(10));

  /// A reply begins; whatever was queued is dropped, and a pause is over.
  void begin(int64_t revision);
  /// The next sound is that of this unit.
  bool add_unit(int64_t revision, SpokenUnit unit);
  /// Sound [n] of that unit. Waits for room. False: this revision is not played any more.
  bool add(int64_t revision, std::span<const int16_t> samples);
  /// All sound of that unit was added: from now on its words are spread over what there is.
  void end_unit(int64_t revision);
  /// Nothing follows.
  void finish(int64_t revision);
  /// Nothing more of any revision is played.
  void drop();

  struct Played {
    bool first = false;  // the first sound of its revision is in it
    bool last = false;   // nothing of it is left, and nothing follows
    int64_t revision = 0;
  };
  /// The next `out` [n]; silence where there is nothing. A pause fades out within it.
  Played pull(std::span<int16_t> out);
  void pause();
  void resume();

  /// Bytes of the written reply that were played: whole words.
  [[nodiscard]] size_t heard() const;
  /// How much sound is queued.
  [[nodiscard]] Time queued() const;
  /// The same, where nothing follows.
  [[nodiscard]] std::optional<Time> left() const;

 private:
  struct Unit {
    SpokenUnit spoken;
    std::vector<int16_t> samples = {};
    size_t played = 0;
    bool complete = false;
  };

  void begin_locked(int64_t revision);
  [[nodiscard]] Time queued_locked() const;
  size_t take(std::span<int16_t> out);

  const int rate_;
  const Time most_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  int64_t revision_ = 0;
  std::deque<Unit> units_;
  size_t heard_ = 0;     // characters of units that were played to their end
  int64_t samples_ = 0;  // queued
  bool any_ = false;     // something of this revision was played
  bool finished_ = true;
  bool told_ = true;  // that it is over
  bool paused_ = false;
  bool faded_ = false;
};

}  // namespace prosa::voice
