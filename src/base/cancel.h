// Whether somebody still wants what is being computed: a flag that any thread sets, and a time after which nobody does.
//
// A small value that is copied into work; it owns nothing, so the flag must outlive the work. Not a thread and not a
// timer: whoever computes asks now and then. Thread safety: requested() from any thread.
#pragma once

#include <atomic>
#include <chrono>

namespace prosa {

struct Cancel {
  using Clock = std::chrono::steady_clock;

  const std::atomic<bool>* flag = nullptr;                // null: nobody cancels
  Clock::time_point deadline = Clock::time_point::max();  // max(): there is none

  Cancel() = default;
  explicit Cancel(const std::atomic<bool>* set, Clock::time_point until = Clock::time_point::max())
      : flag(set), deadline(until) {}

  [[nodiscard]] bool possible() const noexcept { return flag != nullptr || deadline != Clock::time_point::max(); }
  [[nodiscard]] bool requested() const noexcept {
    if (flag != nullptr && flag->load(std::memory_order_relaxed)) return true;
    return deadline != Clock::time_point::max() && Clock::now() >= deadline;
  }
};

}  // namespace prosa
