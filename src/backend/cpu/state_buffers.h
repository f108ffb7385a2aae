// Buffers for the conv windows and recurrent matrices of states and checkpoints, with their pages in memory before they
// are needed: a fresh 20 MiB costs more than a decode step should, so a thread of its own keeps some ready, and whoever
// lets one go gives it back.
//
// Invariant: at most kMost buffers lie idle. None is made before the first is asked for. Thread safety: all of it from
// any thread; a StateBuffer as any shared_ptr.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/aligned.h"

namespace prosa::backend::cpu {

/// The floats of a state. Whoever is their only holder may write.
using StateBuffer = std::shared_ptr<AlignedBuffer<float>>;

class StateBuffers : public std::enable_shared_from_this<StateBuffers> {
 public:
  explicit StateBuffers(int64_t floats) : floats_(floats) {}

  /// With any contents. Error(out_of_memory).
  [[nodiscard]] StateBuffer take();
  /// Zeros, made now: for states that may never need another.
  [[nodiscard]] StateBuffer make();
  /// From now on none lies idle: the backend is gone, and what outlives it only gives back.
  void close() noexcept;
  /// Of the idle ones.
  [[nodiscard]] int64_t byte_size() const;

 private:
  static constexpr size_t kReady = 2;  // made in advance
  static constexpr size_t kMost = 3;   // one more, so that who takes one for each that he gives back needs no new ones
  [[nodiscard]] StateBuffer shared(AlignedBuffer<float> buffer);
  void give_back(AlignedBuffer<float> buffer) noexcept;
  static void touch(AlignedBuffer<float>& buffer, const std::stop_token& over);
  void refill(const std::stop_token& over);

  const int64_t floats_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<AlignedBuffer<float>> ready_;
  bool closed_ = false;
  bool wanted_ = false;  // fewer than kReady are left
  std::condition_variable_any changed_;
  std::jthread thread_;  // last: it uses all of the above; started by the first take()
};

}  // namespace prosa::backend::cpu
