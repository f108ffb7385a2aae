// ThreadPool: generation counter to start a run, sense counter for barriers; both spin, then yield, then sleep.
#include "base/thread_pool.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "prosa/error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace prosa {
namespace {

inline void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

constexpr int kSpins = 4000;  // about 50-150 us: longer than the longest stage imbalance of a small model
constexpr int kYields = 200;

// Returns when `word` no longer holds `old`.
void wait_while(const std::atomic<uint32_t>& word, uint32_t old) noexcept {
  for (int i = 0; i < kSpins; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    pause_cpu();
  }
  for (int i = 0; i < kYields; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : size_(threads) {
  PROSA_CHECK(threads >= 1);
  threads_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int worker = 1; worker < threads; ++worker) threads_.emplace_back([this, worker] { worker_loop(worker); });
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorCode::out_of_memory,
                "the system started " + std::to_string(threads_.size() + 1) + " of " + std::to_string(threads) +
                    " threads: " + error.code().message(),
                "threads", "ask for fewer, or allow the process more");
  } catch (...) {  // no memory for one
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_seq_cst);  // as in barrier()
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::worker_loop(int worker) {
  uint32_t seen = 0;
  for (;;) {
    wait_while(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    (*job_)(worker);
    barrier();
  }
}

void ThreadPool::run(FunctionRef<void(int)> job) {
  if (size_ == 1) {
    job(0);
    return;
  }
  job_ = &job;
  generation_.fetch_add(1, std::memory_order_seq_cst);  // as in barrier()
  generation_.notify_all();
  job(0);
  barrier();
}

void ThreadPool::barrier() noexcept {
  if (size_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    arrived_.store(0, std::memory_order_relaxed);
    // Sequentially consistent: notify_all() then looks whether anybody sleeps, and a store still on its way past that
    // look would let a worker go to sleep on the old phase for ever.
    phase_.store(phase + 1, std::memory_order_seq_cst);
    phase_.notify_all();
    return;
  }
  wait_while(phase_, phase);
}

Range StageItems::take(uint32_t stage, int worker, int64_t items, int64_t grain) noexcept {
  slot(stage + 2, worker).taken.store(0, std::memory_order_relaxed);
  for (int i = 0; i < workers_; ++i) {
    const int from = (worker + i) % workers_;
    const Range all = share(items, from, workers_);
    std::atomic<int64_t>& taken = slot(stage, from).taken;
    if (taken.load(std::memory_order_relaxed) >= all.end - all.begin) continue;  // no write to a line others read
    const int64_t begin = all.begin + taken.fetch_add(grain, std::memory_order_relaxed);
    if (begin < all.end) return {begin, std::min(begin + grain, all.end)};
  }
  return {};
}

}  // namespace prosa
