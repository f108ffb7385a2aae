// Measuring the int8 peak: every thread runs the bare dot products for a while.
#include <algorithm>
#include <atomic>
#include <chrono>

#include "backend/cpu/cpu.h"
#include "backend/cpu/kernels.h"
#include "base/thread_pool.h"

namespace prosa::backend {

double measure_int8_gmacs(std::string_view isa, int threads) {
  constexpr int tries = 8;
  constexpr int64_t rounds = int64_t{1} << 16;
  constexpr std::chrono::milliseconds least(20);
  const cpu::Kernels& kernels = cpu::choose_kernels(isa);
  ThreadPool pool(threads);
  double best = 0;
  for (int i = 0; i < tries; ++i) {
    std::atomic<int64_t> done{0};
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int) {
      int64_t mine = 0;
      int32_t checksum = 0;
      while (std::chrono::steady_clock::now() - start < least) mine += kernels.dot_peak(rounds, &checksum);
      done += mine;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(done.load()) / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace prosa::backend
