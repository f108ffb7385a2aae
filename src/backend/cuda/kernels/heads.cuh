// A head of queries or keys: RMSNorm, then the rotary turn, by one warp. Used wherever heads are made, so that their
// bits are the same in every kind of pass.
#pragma once

#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

inline constexpr int kMaxHeadDim = 256;

/// kE dims of a lane, lane * kE on; what is behind head_dim is zero.
template <int kE>
struct HeadPart {
  float at[kE];
  __device__ void load(const float* x, const AttentionShape& s, int lane) {
    const bool inside = lane * kE < s.head_dim;
    if constexpr (kE == 8) {
      float4 v[2] = {};
      if (inside)
        v[0] = reinterpret_cast<const float4*>(x)[2 * lane], v[1] = reinterpret_cast<const float4*>(x)[2 * lane + 1];
      at[0] = v[0].x, at[1] = v[0].y, at[2] = v[0].z, at[3] = v[0].w;
      at[4] = v[1].x, at[5] = v[1].y, at[6] = v[1].z, at[7] = v[1].w;
    } else {
#pragma unroll
      for (int e = 0; e < kE; ++e) at[e] = inside ? x[lane * kE + e] : 0.0F;
    }
  }
};

/// x <- rotary(x / rms(x) * weight) * factor, by one warp. rotary [cosines | sines]; rotary_dim / 2 is a multiple of kE
/// (model.cpp sees to it), so that a lane's partners are another lane's.
template <int kE>
__device__ inline void make_head(HeadPart<kE>& x, const HeadPart<kE>& weight, const float* rotary,
                                 const AttentionShape& s, float factor, int lane) {
  float squares = 0;
#pragma unroll
  for (int e = 0; e < kE; ++e) squares = __fmaf_rn(x.at[e], x.at[e], squares);
  const int half = s.rotary_dim / 2;
  const int away = half / kE;  // lanes to the partner
  const bool low = lane < away;
  const bool turns = lane < 2 * away;
  const float* const mine = rotary + (low ? lane : lane - away) * kE;
  float cosine[kE];
  float sine[kE];
#pragma unroll
  for (int e = 0; e < kE; ++e) {
    cosine[e] = turns ? mine[e] : 1.0F;
    sine[e] = turns ? mine[half + e] : 0.0F;
  }
  const float scale = rsqrtf(sum_lanes(squares) / static_cast<float>(s.head_dim) + s.eps);
#pragma unroll
  for (int e = 0; e < kE; ++e) {
    const float a = x.at[e] * scale * weight.at[e];
    const float b = __shfl_sync(0xffffffffU, a, low ? lane + away : lane - away);
    x.at[e] = (a * cosine[e] + (low ? -b : b) * sine[e]) * factor;
  }
}

/// A block of KvSpan positions: [attention layer][kv head][keys, values][64][head_dim] f16.
__device__ inline int64_t kv_at(const AttentionShape& s, int layer, int kv_head, int which, int position) {
  return layer * s.layer_stride +
         (static_cast<int64_t>(kv_head * 2 + which) * kKvSpan + position % kKvSpan) * s.head_dim;
}

__device__ inline uint16_t to_f16(float x) {
  const __half h = __float2half_rn(f16_range(x));
  return *reinterpret_cast<const uint16_t*>(&h);
}

template <int kE>
__device__ inline void store_halves(uint16_t* to, const HeadPart<kE>& x, const AttentionShape& s, int lane) {
  if (lane * kE >= s.head_dim) return;
  if constexpr (kE == 1) {
    to[lane] = to_f16(x.at[0]);
  } else {
    uint32_t word[kE / 2];
#pragma unroll
    for (int e = 0; e < kE; e += 2) word[e / 2] = pack_f16(x.at[e], x.at[e + 1]);
    if constexpr (kE == 8) reinterpret_cast<uint4*>(to)[lane] = {word[0], word[1], word[2], word[3]};
    if constexpr (kE == 4) reinterpret_cast<uint2*>(to)[lane] = {word[0], word[1]};
    if constexpr (kE == 2) reinterpret_cast<uint32_t*>(to)[lane] = word[0];
  }
}

/// Key and value of one head of a row [head_dim] into the cache, by one warp.
template <int kE>
__device__ inline void store_kv(const AttentionArgs& args, const float* key_row, const float* value_row,
                                const float* rotary, int kv_head, int position, uint16_t* block, int lane) {
  const AttentionShape& s = args.shape;
  HeadPart<kE> key;
  HeadPart<kE> value;
  HeadPart<kE> weight;
  key.load(key_row, s, lane);
  value.load(value_row, s, lane);
  weight.load(args.k_norm, s, lane);
  make_head(key, weight, rotary, s, 1.0F, lane);
  store_halves(block + kv_at(s, args.layer, kv_head, 0, position), key, s, lane);
  store_halves(block + kv_at(s, args.layer, kv_head, 1, position), value, s, lane);
}

/// Dims of a lane for heads of so many dims.
inline int lane_dims(int head_dim) { return head_dim <= 32 ? 1 : head_dim <= 64 ? 2 : head_dim <= 128 ? 4 : 8; }

}  // namespace prosa::backend::cuda
