// Durations and their middle, for what measures.
#pragma once

#include <chrono>
#include <vector>

namespace prosa::tools {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Sorted copy's middle (the mean of the two in the middle). `values` not empty.
double median(std::vector<double> values);

}  // namespace prosa::tools
