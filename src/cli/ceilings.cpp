// The limits of this machine: memory read bandwidth and int8 dot products.
#include "cli/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include <unistd.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "base/thread_pool.h"

namespace prosa::cli {
namespace {

constexpr int read_passes = 8;

int64_t buffer_bytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 where the system does not tell (arm64)
  return std::clamp<int64_t>(4 * cache + (int64_t{16} << 20), int64_t{256} << 20, int64_t{1} << 30);
}

/// Eight independent sums of a vector each, so that loads and not additions are the limit.
uint64_t sum(std::span<const uint64_t> words) {
  constexpr size_t lanes = 64;
  uint64_t sums[lanes] = {};
  size_t i = 0;
  for (; i + lanes <= words.size(); i += lanes) {
    for (size_t lane = 0; lane < lanes; ++lane) sums[lane] += words[i + lane];
  }
  uint64_t total = 0;
  for (; i < words.size(); ++i) total += words[i];
  for (const uint64_t value : sums) total += value;
  return total;
}

}  // namespace

double measure_read_gbps(int threads) {
  const auto count = static_cast<size_t>(buffer_bytes()) / sizeof(uint64_t);
  const std::unique_ptr<uint64_t[]> words(new uint64_t[count]);
  ThreadPool pool(threads);
  std::atomic<uint64_t> total{0};  // keeps the reading from being removed
  const auto slice = [&](int worker) {
    const Range range = share(static_cast<int64_t>(count), worker, threads);
    return std::span(words.get() + range.begin, static_cast<size_t>(range.end - range.begin));
  };
  pool.run([&](int worker) { std::ranges::fill(slice(worker), uint64_t{1}); });  // first touch by its reader
  double best = 0;
  for (int pass = 0; pass < read_passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int worker) { total += sum(slice(worker)); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(count * sizeof(uint64_t)) / seconds.count() / 1e9);
  }
  return total.load() == count * read_passes ? best : 0;
}

double measure_int8_gmacs(std::string_view isa, int threads) {
  // The reference backend has no ISA: its speed is held against the best one there is.
  return backend::measure_int8_gmacs(std::ranges::count(backend::available_isas(), isa) > 0 ? isa : "", threads);
}

}  // namespace prosa::cli
