// What the CPU backend offers besides backend.h: the int8 peak of this machine, for benchmarks.
#pragma once

#include <string_view>

namespace prosa::backend {

/// int8 multiply-adds a second (in 10^9) that `threads` threads do together with the dot product of `isa` on data in
/// cache: the best of several tries. Error(unsupported) lists the ISAs there are.
double measure_int8_gmacs(std::string_view isa, int threads);

}  // namespace prosa::backend
