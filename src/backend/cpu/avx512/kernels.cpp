// The kernels for AVX-512 with VNNI: generic/*.inl compiled over avx512/simd.h.
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
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns about the deliberately undefined registers inside its own intrinsics.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#endif

namespace prosa::backend::cpu {
namespace {
namespace avx512 {
#include "backend/cpu/avx512/simd.h"

#include "backend/cpu/generic/kernels.inl"
}  // namespace avx512
}  // namespace

const Kernels* avx512_kernels() { return &avx512::table("avx512vnni"); }

}  // namespace prosa::backend::cpu
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace prosa::backend::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace prosa::backend::cpu
#endif
