// A deadline that sets a flag when it passes, from a thread of its own that exists only while there is one.
//
// Not a scheduler. Invariant: after the destructor the flags are no longer touched.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace prosa::chat {

class Deadline {
 public:
  /// At `when`, `passed` and then `stop` become true.
  Deadline(std::chrono::steady_clock::time_point when, std::atomic<bool>& passed, std::atomic<bool>& stop)
      : thread_([this, when, &passed, &stop](const std::stop_token& over) {
          std::unique_lock lock(mutex_);
          if (changed_.wait_until(lock, over, when, [] { return false; }) || over.stop_requested()) return;
          passed = true;
          stop = true;
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace prosa::chat
