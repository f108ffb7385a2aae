// The kernels for arm64 with int8 matrix products (i8mm: Armv8.6, Neoverse V1, Cortex-X2, Apple M2 and later): those of
// neon/, but for the products of several tokens with quantized weights (linear.inl).
//
// Invariant: bit for bit the results of neon/.
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
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif

namespace prosa::backend::cpu {
namespace {
namespace i8mm {
#include "backend/cpu/neon/simd.h"

namespace eight_rows {  // its B hides that of 16 rows
#include "backend/cpu/i8mm/bytes.h"

#include "backend/cpu/generic/codes.inl"

#include "backend/cpu/i8mm/linear.inl"
}  // namespace eight_rows
}  // namespace i8mm
}  // namespace

const Kernels* i8mm_kernels() {
  static const Kernels kernels = [] {
    Kernels table = *neon_kernels();
    table.isa = "i8mm";
    table.linear = i8mm::eight_rows::linear;
    return table;
  }();
  return &kernels;
}

}  // namespace prosa::backend::cpu
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace prosa::backend::cpu {
const Kernels* i8mm_kernels() { return nullptr; }
}  // namespace prosa::backend::cpu
#endif
