// cancel() for whatever an object is doing at the moment, from any thread and from signal handlers: a cancel() while a
// call is under way reaches that call and no other, however close to its beginning or end it comes.
//
// Each call has a flag of its own out of a ring, so that a late setter meets an old flag. Invariant: between begin()
// and end() flag() is that of the call. Thread safety: cancel() and requested() from any thread; begin() and end() by
// the thread that has the object's lease.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace prosa::chat {

class Cancellation {
 public:
  /// A call is under way from now on, and nobody has cancelled it yet.
  void begin() noexcept {
    const uint64_t call = state_.load(std::memory_order_relaxed) / 2 + 1;
    flags_[call % flags_.size()].store(false, std::memory_order_relaxed);
    state_.store(call * 2 + 1, std::memory_order_release);
  }
  void end() noexcept {
    state_.store(state_.load(std::memory_order_relaxed) & ~uint64_t{1}, std::memory_order_release);
  }

  /// Without effect while nothing is under way.
  void cancel() noexcept {
    const uint64_t state = state_.load(std::memory_order_acquire);
    if ((state & 1) != 0) flags_[state / 2 % flags_.size()].store(true, std::memory_order_release);
  }
  /// Of the call under way.
  [[nodiscard]] const std::atomic<bool>& flag() const noexcept {
    return flags_[state_.load(std::memory_order_acquire) / 2 % flags_.size()];
  }
  [[nodiscard]] bool requested() const noexcept { return flag().load(std::memory_order_acquire); }

 private:
  std::atomic<uint64_t> state_ = 0;  // twice the number of the call, and 1 while it is under way
  std::array<std::atomic<bool>, 64> flags_{};
};

}  // namespace prosa::chat
