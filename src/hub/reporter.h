// Counting what arrives and telling it: bytes and notices come from any thread, progress goes out on the caller's.
//
// Invariant: the callback runs on the thread that calls emit(), and at most ten times a second unless forced.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "prosa/hub.h"

namespace prosa::hub {

class Reporter {
 public:
  explicit Reporter(std::function<void(const DownloadProgress&)> callback) : callback_(std::move(callback)) {}

  // On the caller's thread.
  void add_total(int64_t bytes) { total_ += bytes; }
  void set_file(const std::string& name) { file_ = name; }
  void emit(bool force = false);

  // On any thread.
  void add_received(int64_t bytes) noexcept { done_ += bytes, received_ += bytes; }
  void add_found(int64_t bytes) noexcept { done_ += bytes; }
  void notice(std::string line);

  [[nodiscard]] int64_t received() const noexcept { return received_; }
  [[nodiscard]] int64_t done() const noexcept { return done_; }
  /// What came since done() was this is worth nothing.
  void rewind(int64_t done) noexcept { done_ = done; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Sample {
    Clock::time_point time;
    int64_t received;
  };
  double speed(Clock::time_point now);

  std::function<void(const DownloadProgress&)> callback_;
  std::string file_;
  int64_t total_ = 0;
  std::atomic<int64_t> done_{0};
  std::atomic<int64_t> received_{0};
  std::deque<Sample> samples_;  // of the last seconds
  Clock::time_point last_{};
  std::mutex mutex_;
  std::deque<std::string> notices_;  // guarded by mutex_
};

}  // namespace prosa::hub
