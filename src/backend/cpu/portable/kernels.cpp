// The kernels for any processor: generic/*.inl compiled over portable/simd.h.
//
// No instruction set beyond the compiler's default.
#include "backend/cpu/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/bf16.h"

namespace prosa::backend::cpu {
namespace {
namespace portable {
#define PROSA_INLINE
#include "backend/cpu/portable/simd.h"

#include "backend/cpu/generic/kernels.inl"
}  // namespace portable
}  // namespace

const Kernels* portable_kernels() { return &portable::table("portable"); }

}  // namespace prosa::backend::cpu
