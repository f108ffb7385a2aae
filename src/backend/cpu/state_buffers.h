// Buffers for the conv windows and recurrent matrices of states and snapshots, with their pages in memory before they
// are needed: a fresh 20 MiB costs more than a decode step should, so a thread of its own keeps some ready, and whoever
// lets one go gives it back. Where no thread can be started, buffers are made when they are asked for.
//
// Invariant: at most kMaxIdle buffers lie idle. None is made before the first is asked for. Thread safety: all of it
// from any thread; a StateBuffer as any Ref.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/aligned.h"
#include "base/counted.h"

namespace prosa::backend::cpu {

class StateBuffers;

/// The floats of a state. Whoever is alone in holding them may write.
class StateFloats : public Counted {
 public:
  StateFloats(AlignedBuffer<float> floats, std::shared_ptr<StateBuffers> pool)
      : floats_(std::move(floats)), pool_(std::move(pool)) {}
  [[nodiscard]] std::span<float> span() { return floats_.span(); }
  [[nodiscard]] int64_t size() const { return floats_.size(); }
  [[nodiscard]] int64_t byte_size() const { return floats_.byte_size(); }

 private:
  friend class Ref<StateFloats>;
  ~StateFloats() = default;
  void retire() noexcept;  // goes back to the pool

  AlignedBuffer<float> floats_;
  std::shared_ptr<StateBuffers> pool_;  // may outlive the backend
};
using StateBuffer = Ref<StateFloats>;

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
  friend class StateFloats;
  static constexpr size_t kReady = 2;    // made in advance
  static constexpr size_t kMaxIdle = 3;  // one more, so that who takes one for each given back needs no new ones
  [[nodiscard]] StateBuffer wrapped(AlignedBuffer<float> buffer);
  void give_back(AlignedBuffer<float> buffer) noexcept;
  static void touch(AlignedBuffer<float>& buffer, const std::stop_token& over);
  void refill(const std::stop_token& over);

  const int64_t floats_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<AlignedBuffer<float>> ready_;
  bool closed_ = false;
  bool wanted_ = false;   // fewer than kReady are left
  bool started_ = false;  // or tried to
  std::condition_variable_any changed_;
  std::jthread thread_;  // last: it uses all of the above; started by the first take()
};

}  // namespace prosa::backend::cpu
