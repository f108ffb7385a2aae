// What this machine can do at best, measured now: the two limits that speed is compared with.
//
// Not a benchmark of prosa: no model is involved. Figures hold for the given number of threads.
#pragma once

#include <string_view>

namespace prosa::cli {

/// Bytes a second (in 10^9) that `threads` threads read together from memory: the best way of several, each the median
/// of its passes over a buffer of at least four times the last-level cache.
double measure_read_gbps(int threads);

/// int8 multiply-adds a second (in 10^9) with the dot-product instruction of `isa`, operands in registers.
double measure_int8_gmacs(std::string_view isa, int threads);

}  // namespace prosa::cli
