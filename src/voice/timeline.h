// What happened in a voice conversation: events for whoever watches, and a record of each turn.
//
// Events are told by a thread of their own, so that a slow watcher delays nothing. Invariant: events are told in the
// order in which they were noted; of a watcher that falls kMaxWaiting behind the oldest are left out. Thread safety:
// every call from any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "prosa/voice.h"

namespace prosa::voice {

class Timeline {
 public:
  using Time = std::chrono::microseconds;
  static constexpr size_t kMaxWaiting = 10'000;
  static constexpr size_t kMaxTurns = 1000;

  explicit Timeline(std::function<void(const VoiceEvent&)> watcher);
  /// Tells what is waiting.
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// Since the pipeline began.
  [[nodiscard]] Time now() const;
  void note(VoiceEvent::Kind kind, int64_t revision, std::string text = {});

  /// Changes the record of the turn that has this revision, under way or over.
  void record(int64_t revision, const std::function<void(TurnRecord&)>& change);
  /// A turn begins: its record, with what early work cost before it.
  void begin_turn(TurnRecord turn);
  void draft_begun();
  /// So many tokens were computed early for nothing.
  void lost(int64_t tokens);
  /// The newest turn is over and stays. Of another revision: no effect.
  void end_turn(int64_t revision);
  /// It never was.
  void forget_turn(int64_t revision);
  [[nodiscard]] std::vector<TurnRecord> turns() const;

 private:
  void tell(const std::stop_token& stop);

  const std::function<void(const VoiceEvent&)> watcher_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<VoiceEvent> events_;
  std::optional<TurnRecord> turn_;
  int drafts_ = 0;  // since the last turn began
  int64_t lost_tokens_ = 0;
  std::deque<TurnRecord> turns_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace prosa::voice
