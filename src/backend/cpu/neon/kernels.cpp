// The kernels for arm64 with the int8 dot product: generic/*.inl compiled over neon/simd.h.
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

#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace prosa::backend::cpu {
namespace {
namespace neon {
#include "backend/cpu/neon/simd.h"

#include "backend/cpu/generic/kernels.inl"
}  // namespace neon
}  // namespace

const Kernels* neon_kernels() { return &neon::table("neon"); }

}  // namespace prosa::backend::cpu
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace prosa::backend::cpu {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace prosa::backend::cpu
#endif
