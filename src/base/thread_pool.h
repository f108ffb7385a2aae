// A few threads that run one function together, with a barrier inside: the shape of a forward pass, where every stage
// is split over the same workers and ends when all have arrived.
//
// Not a task queue. Waiting spins first (stages are microseconds apart), then yields, then sleeps, so that a busy
// machine and an idle process both behave. Invariant: which worker does what never changes a result.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/cores.h"
#include "base/function_ref.h"

namespace prosa {

/// A half-open range of work items.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

/// The share of `worker` when `items` are split as evenly as possible, in order, between `workers`.
inline Range share(int64_t items, int worker, int workers) noexcept {
  return {items * worker / workers, items * (worker + 1) / workers};
}

class ThreadPool {
 public:
  /// `threads` workers, the caller of run() being worker 0. threads >= 1. Error(out_of_memory) when the system starts
  /// fewer: none of them is left then.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int size() const noexcept { return size_; }

  /// Calls job(worker) on every worker and returns when all have returned. `job` must not throw, and so must not
  /// allocate. One run at a time.
  void run(FunctionRef<void(int worker)> job);

  /// Inside a job: waits until every worker has arrived; what each wrote before is seen by all after.
  void barrier() noexcept;

 private:
  void worker_loop(int worker);
  void stop();

  int size_;
  std::vector<std::thread> threads_;
  const FunctionRef<void(int)>* job_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // counts runs
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  std::atomic<bool> stop_{false};
};

/// Hands out the items of one stage after another to the workers of a pool: each takes from its own share first, front
/// to back, then from what others have left. So a worker that the machine holds up delays nobody. Which worker takes
/// what must not matter.
class StageItems {
 public:
  explicit StageItems(int workers) : workers_(workers), slots_(static_cast<size_t>(workers) * kStages) {}

  /// The next items for `worker` out of `items` of its stage number `stage`, at most `grain` of them; empty: all are
  /// taken. Every worker walks the same stages, and a barrier stands between two of them.
  Range take(uint32_t stage, int worker, int64_t items, int64_t grain) noexcept;

 private:
  static constexpr uint32_t kStages = 4;  // a stage's counters are cleared two stages later, and used again after four
  struct alignas(64) Slot {
    std::atomic<int64_t> taken{0};
  };
  Slot& slot(uint32_t stage, int worker) noexcept {
    return slots_[static_cast<size_t>(stage % kStages) * static_cast<size_t>(workers_) + static_cast<size_t>(worker)];
  }
  int workers_;
  std::vector<Slot> slots_;
};

}  // namespace prosa
