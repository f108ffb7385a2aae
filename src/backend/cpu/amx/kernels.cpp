// The kernels for processors with a tile unit for int8 (AMX: Sapphire Rapids and later): those of avx512/, but for the
// products of many tokens with quantized weights (linear*.inl) and the attention of many query rows (attend*.inl).
//
// Invariant: bit for bit the results of avx512/.
#include "backend/cpu/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
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
#pragma clang attribute push(                                                                                 \
    __attribute__((                                                                                           \
        target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c,amx-tile,amx-int8"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c,amx-tile,amx-int8")
#endif

namespace prosa::backend::cpu {
namespace {
namespace amx {
#include "backend/cpu/avx512/simd.h"

#include "backend/cpu/generic/math.inl"

#include "backend/cpu/generic/codes.inl"

#include "backend/cpu/generic/kv_numbers.inl"

#include "backend/cpu/generic/attend.inl"

#include "backend/cpu/amx/tile.h"

#include "backend/cpu/amx/attend_rows.inl"

#include "backend/cpu/amx/attend16.inl"
#include "backend/cpu/amx/attend8.inl"
#include "backend/cpu/amx/linear.inl"

#include "backend/cpu/amx/linear_few.inl"

template <int Bits, int64_t Columns>
void linear_groups(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                   bool add_to) {
  const bool wide = w.scale_dtype == DType::f32;
  for (int64_t token = 0; token < tokens; token += kBlockTokens) {
    const int64_t here = std::min(kBlockTokens, tokens - token);
    const Activations mine = x.from(token);
    const TileProducts products{w, mine, here, y + token * ldy, ldy, add_to};
    if (x.low != nullptr && wide) tile_linear<Bits, Columns, true, 2>(tiles, products);
    if (x.low != nullptr && !wide) tile_linear<Bits, Columns, false, 2>(tiles, products);
    if (x.low == nullptr && wide) tile_linear<Bits, Columns, true, 1>(tiles, products);
    if (x.low == nullptr && !wide) tile_linear<Bits, Columns, false, 1>(tiles, products);
  }
}

template <int Bits>
void linear_bits(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                 bool add_to) {
  if (takes_few(w, tokens)) return few_linear<Bits>(tiles, {w, x, tokens, y, ldy, add_to});
  switch (w.group_size) {
    case 32: linear_groups<Bits, 32>(w, tiles, x, tokens, y, ldy, add_to); break;
    case 64: linear_groups<Bits, 64>(w, tiles, x, tokens, y, ldy, add_to); break;
    default: linear_groups<Bits, 128>(w, tiles, x, tokens, y, ldy, add_to); break;
  }
}

void linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
            bool add_to) {
  if (w.bits == 0 || tokens <= kLooseRows)  // so few, the vector kernels take less time than a tile
    return avx512_kernels()->linear(w, tiles, x, tokens, y, ldy, add_to);
  switch (w.bits) {
    case 2: linear_bits<2>(w, tiles, x, tokens, y, ldy, add_to); break;
    case 3: linear_bits<3>(w, tiles, x, tokens, y, ldy, add_to); break;
    case 4: linear_bits<4>(w, tiles, x, tokens, y, ldy, add_to); break;
    case 5: linear_bits<5>(w, tiles, x, tokens, y, ldy, add_to); break;
    case 6: linear_bits<6>(w, tiles, x, tokens, y, ldy, add_to); break;
    default: linear_bits<8>(w, tiles, x, tokens, y, ldy, add_to); break;
  }
}

void attend_rows(const AttendArgs& args) {
  const bool fits = args.kv.head_dim % 64 == 0 && args.kv.head_dim <= kMaxHeadDim;
  if (!fits || args.rows < kMinTileRows) return avx512_kernels()->attend(args);
  args.kv.bits == 8 ? tile_attend8(args) : tile_attend16(args);
}
}  // namespace amx
}  // namespace

const Kernels* amx_kernels() {
  static const Kernels kernels = [] {
    Kernels table = *avx512_kernels();
    table.isa = "amx";
    table.linear = amx::linear;
    table.attend = amx::attend_rows;
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
const Kernels* amx_kernels() { return nullptr; }
}  // namespace prosa::backend::cpu
#endif
