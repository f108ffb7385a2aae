// The lanes of the terminal view of prosa voice: a character for each tenth of a second.
//
// Knows events and their times, no terminal and no text. Invariant: a character once shown in a column stays there, so
// that the lanes only move to the left.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

#include "prosa/voice.h"

namespace prosa::cli {

class VoiceLanes {
 public:
  using Time = std::chrono::microseconds;
  static constexpr Time kColumn{100'000};
  static constexpr size_t kMaxColumns = 400;

  void add(const VoiceEvent& event);
  /// The columns up to that time are complete.
  void advance(Time now);

  enum class Lane { user, model, voice };
  /// The last `columns` of a lane, the newest at the right.
  [[nodiscard]] std::string row(Lane lane, size_t columns) const;

 private:
  struct Column {
    char user = ' ', model = ' ', voice = ' ';
  };
  Column& at(Time time);
  void mark(Time time, char what);

  std::deque<Column> columns_;  // the newest last
  int64_t first_ = 0;           // the number of the oldest
  bool speaking_ = false, playing_ = false, paused_ = false;
};

}  // namespace prosa::cli
