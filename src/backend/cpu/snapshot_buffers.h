// Buffers for checkpoints, with their pages in memory before they are needed: a fresh 20 MiB costs several times what
// copying a state into it does, so a thread of its own keeps some ready, and dropped checkpoints give theirs back.
//
// Invariant: at most kReady buffers lie idle. None is made before the first is asked for. Thread safety: all of it from
// any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/aligned.h"

namespace prosa::backend::cpu {

class SnapshotBuffers {
 public:
  explicit SnapshotBuffers(int64_t floats) : floats_(floats) {}

  /// With any contents. Error(out_of_memory).
  [[nodiscard]] AlignedBuffer<float> take();
  void give_back(AlignedBuffer<float> buffer) noexcept;
  /// From now on none lies idle: the backend is gone, and what outlives it only gives back.
  void close() noexcept;
  /// Of the idle ones.
  [[nodiscard]] int64_t byte_size() const;

 private:
  static constexpr size_t kReady = 2;
  void refill(const std::stop_token& over);

  const int64_t floats_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<AlignedBuffer<float>> ready_;
  bool closed_ = false;
  bool wanted_ = false;  // somebody has taken one since the last refill
  std::condition_variable_any changed_;
  std::jthread thread_;  // last: it uses all of the above; started by the first take()
};

}  // namespace prosa::backend::cpu
