// The ears of a voice pipeline: a thread that feeds utterances to a recogniser.
//
// Decides nothing: when an utterance begins and ends is told. Invariant: what is reported carries the number of its
// utterance, and nothing is reported of one that was dropped. Thread safety: every call from any thread; none waits for
// the recogniser.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "prosa/voice_parts.h"

namespace prosa::voice {

/// What was understood, told on the listener's thread.
class ListenerEvents {
 public:
  virtual ~ListenerEvents() = default;
  virtual void partial(int64_t utterance, const std::string& text) = 0;
  virtual void final(int64_t utterance, const std::string& text) = 0;
  /// The utterance has no transcript: final() with "" follows.
  virtual void hearing_failed(int64_t utterance, const std::string& what) = 0;
};

class Listener {
 public:
  /// `events` outlives the listener.
  Listener(std::unique_ptr<SpeechToText> engine, ListenerEvents& events);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void begin(int64_t utterance);
  /// Sound [n] of the newest utterance. Of a recogniser that is kMaxBehind behind the oldest is left out.
  void push(std::span<const int16_t> samples);
  void end(int64_t utterance);
  void drop(int64_t utterance);

  [[nodiscard]] bool idle() const;

  static constexpr size_t kMaxBehind = size_t{30} * kHeardRate;  // samples

 private:
  struct Item {
    enum class Kind { begin, push, end, drop };
    Kind kind;
    int64_t utterance = 0;
    std::vector<int16_t> samples = {};
  };

  void work(const std::stop_token& stop);
  void obey(const Item& item);
  void post(Item item, bool cancels);
  [[nodiscard]] bool wanted(int64_t utterance) const;

  const std::unique_ptr<SpeechToText> engine_;
  ListenerEvents& events_;

  // Of the thread alone.
  bool open_ = false;    // begin() of the engine was called
  bool failed_ = false;  // of this utterance
  std::string text_;     // reported last

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Item> items_;
  int64_t newest_ = 0;
  int64_t dropped_ = 0;
  bool busy_ = false;
  bool ended_ = false;   // the thread
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace prosa::voice
