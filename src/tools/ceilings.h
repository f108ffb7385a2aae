// What this machine can do at best, measured now: the two limits that speed is compared with.
//
// Not a benchmark of prosa: no model is involved. Figures hold for the given number of threads.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/aligned.h"
#include "base/thread_pool.h"

namespace prosa::tools {

struct BenchRange {
  double median = 0, slowest = 0, fastest = 0;
};

/// Bytes a second (in 10^9) that `threads` threads read together from memory, over a buffer of at least four times the
/// last-level cache. On a shared host the memory's speed changes by half from one second to the next: passes therefore
/// stand between the runs that are compared with it, and medians are compared with medians.
class ReadMeter {
 public:
  explicit ReadMeter(int threads);
  /// Reads the buffer once in each of several ways.
  void pass();
  /// Of the way whose median is best.
  [[nodiscard]] BenchRange gbps() const;

 private:
  int64_t lines_each_;  // of a thread's part
  AlignedBuffer<uint8_t> buffer_;
  ThreadPool pool_;
  std::vector<std::vector<double>> rates_;  // [ways][passes]
};

/// int8 multiply-adds a second (in 10^9) with the dot-product instruction of `isa`, operands in registers.
double measure_int8_gmacs(std::string_view isa, int threads);

}  // namespace prosa::tools
