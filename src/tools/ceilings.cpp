// The limits of this machine: memory read bandwidth and int8 dot products.
#include "tools/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include <unistd.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "base/aligned.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "tools/read_streams.h"
#include "tools/timing.h"

namespace prosa::tools {
namespace {

constexpr int64_t kLineBytes = 64;
constexpr int64_t kRoundTo = 16;  // lines: four streams of whole steps

int64_t buffer_bytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 where the system does not tell (arm64)
  return std::clamp<int64_t>(4 * cache + (int64_t{16} << 20), int64_t{256} << 20, int64_t{1} << 30);
}

}  // namespace

// One stream a thread does not show what a core can read: the hardware prefetcher follows a stream only to the end of
// its 4 KiB page and finds it anew behind it, and on some processors half of the bandwidth is lost that way. More
// streams, or asking for lines a page ahead, hide that gap; so may a kernel, and a ceiling that a kernel can pass is
// none. Which way wins is the machine's affair: all are measured, in turn, so that a slow moment of a shared host hits
// each alike, and the best median counts, not the luckiest pass.
ReadMeter::ReadMeter(int threads)
    : lines_each_(buffer_bytes() / threads / (kLineBytes * kRoundTo) * kRoundTo),
      buffer_(lines_each_ * kLineBytes * threads, "the memory to read"),  // on 2 MiB pages: page walks cost too
      pool_(threads),
      rates_(read_ways().size()) {
  pool_.run([&](int worker) {  // first touch by its reader
    auto* words = reinterpret_cast<uint64_t*>(buffer_.data() + worker * lines_each_ * kLineBytes);
    std::fill_n(words, lines_each_ * kLineBytes / 8, uint64_t{1});
  });
}

void ReadMeter::pass() {
  const std::span<const ReadWay> ways = read_ways();
  for (size_t i = 0; i < ways.size(); ++i) {
    const ReadWay& way = ways[i];
    std::atomic<uint64_t> total{0};
    const auto start = std::chrono::steady_clock::now();
    pool_.run([&](int worker) {
      total += way.read(buffer_.data() + worker * lines_each_ * kLineBytes, lines_each_ / way.streams);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    PROSA_CHECK(total.load() == static_cast<uint64_t>(buffer_.size() / 8));  // every word, once
    rates_[i].push_back(static_cast<double>(buffer_.size()) / seconds.count() / 1e9);
  }
}

BenchRange ReadMeter::gbps() const {
  BenchRange best;
  for (const std::vector<double>& rate : rates_) {
    if (rate.empty() || median(rate) <= best.median) continue;
    best = {median(rate), *std::ranges::min_element(rate), *std::ranges::max_element(rate)};
  }
  return best;
}

double measure_int8_gmacs(std::string_view isa, int threads) {
  // The reference backend has no ISA: its speed is held against the best one there is.
  return backend::measure_int8_gmacs(std::ranges::count(backend::available_isas(), isa) > 0 ? isa : "", threads);
}

}  // namespace prosa::tools
