// The reading loops for each instruction set, and the choice among them.
//
// Each region is compiled for its instruction set and nothing else is: the program starts on any processor.
#include "tools/read_streams.h"

namespace prosa::tools {
namespace {

constexpr int64_t kLineBytes = 64;
constexpr int kStep = 4;  // lines of one stream before the next has its turn

namespace baseline {
#include "tools/read_streams.inl"
}

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif
namespace avx512 {
#include "tools/read_streams.inl"
}
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
namespace avx2 {
#include "tools/read_streams.inl"
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

}  // namespace

std::span<const ReadWay> read_ways() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return avx512::kWays;
  if (__builtin_cpu_supports("avx2")) return avx2::kWays;
#endif
  return baseline::kWays;
}

}  // namespace prosa::tools
