// A queue between two threads without a lock: one puts, one takes.
//
// For an audio device's callback, which must never wait. Its size is fixed; what does not fit is not put. drop() is the
// putting thread's way to take back what was not taken yet. Invariant: taken_ <= put_ <= taken_ + capacity.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace prosa::voice {

template <typename T>
class Ring {
 public:
  /// Room for `capacity` at least.
  explicit Ring(size_t capacity) : items_(std::bit_ceil(capacity)) {}

  /// How many there was room for.
  size_t put(std::span<const T> items) {
    const uint64_t put = put_.load(std::memory_order_relaxed);
    const size_t room = items_.size() - static_cast<size_t>(put - taken_.load(std::memory_order_acquire));
    const size_t count = std::min(room, items.size());
    for (size_t i = 0; i < count; ++i) items_[(put + i) % items_.size()] = items[i];
    put_.store(put + count, std::memory_order_release);
    return count;
  }
  /// How many there were.
  size_t take(std::span<T> items) {
    uint64_t taken = taken_.load(std::memory_order_relaxed);
    const uint64_t put = put_.load(std::memory_order_acquire);
    taken = std::max(taken, std::min(dropped_.load(std::memory_order_relaxed), put));
    const size_t count = std::min(static_cast<size_t>(put - taken), items.size());
    for (size_t i = 0; i < count; ++i) items[i] = items_[(taken + i) % items_.size()];
    taken_.store(taken + count, std::memory_order_release);
    return count;
  }
  /// What was put so far will not be taken any more. By the thread that puts.
  void drop() noexcept { dropped_.store(put_.load(std::memory_order_relaxed), std::memory_order_relaxed); }
  /// What take() would find now, if it asked for all.
  [[nodiscard]] size_t size() const noexcept {
    const uint64_t taken = std::max(taken_.load(std::memory_order_acquire), dropped_.load(std::memory_order_relaxed));
    const uint64_t put = put_.load(std::memory_order_acquire);
    return put > taken ? static_cast<size_t>(put - taken) : 0;
  }

 private:
  std::vector<T> items_;
  std::atomic<uint64_t> put_{0}, taken_{0}, dropped_{0};  // counts since the start
};

}  // namespace prosa::voice
