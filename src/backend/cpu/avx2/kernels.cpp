// The kernels for AVX2 with FMA and F16C: generic/*.inl compiled over avx2/simd.h.
//
// Everything after the includes lies in one target region; no other file is compiled with these instructions, so no
// inline function of a header can carry them elsewhere.
#include "backend/cpu/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/bf16.h"

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace prosa::backend::cpu {
namespace {
namespace avx2 {
#include "backend/cpu/avx2/simd.h"

#include "backend/cpu/generic/kernels.inl"
}  // namespace avx2
}  // namespace

const Kernels* avx2_kernels() { return &avx2::table("avx2"); }

}  // namespace prosa::backend::cpu
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace prosa::backend::cpu {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace prosa::backend::cpu
#endif
