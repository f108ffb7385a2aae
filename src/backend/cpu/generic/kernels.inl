// All kernels of one ISA and their table: what kernels.cpp of an ISA includes inside its namespace, after its simd.h.
//
// The order matters: each file uses those above it; the table comes last.

#include "backend/cpu/generic/math.inl"

#include "backend/cpu/generic/quantize.inl"

#include "backend/cpu/generic/codes.inl"

#ifdef PROSA_PAIR_PRODUCTS
#include "backend/cpu/generic/pairs.inl"
#endif

#include "backend/cpu/generic/linear.inl"

#include "backend/cpu/generic/outliers.inl"

#include "backend/cpu/generic/kv_numbers.inl"

#include "backend/cpu/generic/attend.inl"
#include "backend/cpu/generic/delta.inl"
#include "backend/cpu/generic/peak.inl"

inline const Kernels& table(std::string_view isa) {
  static const Kernels kernels{isa,         linear,     add_outliers, quantize,  rms_norm,   silu_mul,
                               sigmoid_mul, gated_norm, l2_norm,      conv_silu, delta_step, delta_chunk,
                               attend,      store_key,  store_value,  dot_peak};
  return kernels;
}
