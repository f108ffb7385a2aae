// A head of queries or keys: RMSNorm, then the rotary turn, by one warp. Used wherever heads are made, so that their
// bits are the same in every kind of pass.
#pragma once

#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

inline constexpr int kMaxHeadDim = 256;

/// x, weight [head_dim] -> out [head_dim] in shared memory of this warp alone. rotary [cosines | sines].
__device__ inline void make_head(const float* x, const float* weight, const float* rotary, const AttentionShape& s,
                                 float factor, float* out, int lane) {
  float squares = 0;
  for (int d = lane; d < s.head_dim; d += 32) squares = __fmaf_rn(x[d], x[d], squares);
  const float scale = 1.0F / sqrtf(sum_lanes(squares) / static_cast<float>(s.head_dim) + s.eps);
  const int half = s.rotary_dim / 2;
  for (int d = lane; d < half; d += 32) {
    const float a = x[d] * scale * weight[d];
    const float b = x[d + half] * scale * weight[d + half];
    const float cosine = rotary[d];
    const float sine = rotary[half + d];
    out[d] = (a * cosine - b * sine) * factor;
    out[d + half] = (b * cosine + a * sine) * factor;
  }
  for (int d = s.rotary_dim + lane; d < s.head_dim; d += 32) out[d] = x[d] * scale * weight[d] * factor;
  __syncwarp();
}

__device__ inline uint16_t to_f16(float x) {
  const __half h = __float2half_rn(f16_range(x));
  return *reinterpret_cast<const uint16_t*>(&h);
}

/// A block of KvSpan positions: [attention layer][kv head][keys, values][64][head_dim] f16.
__device__ inline int64_t kv_at(const AttentionShape& s, int layer, int kv_head, int which, int position) {
  return layer * s.layer_stride +
         (static_cast<int64_t>(kv_head * 2 + which) * kKvSpan + position % kKvSpan) * s.head_dim;
}

/// Key and value of one row into the cache. `scratch` [head_dim]: of this warp.
__device__ inline void store_kv(const AttentionArgs& args, const float* row, const float* rotary, int kv_head,
                                int position, uint16_t* block, float* scratch, int lane) {
  const AttentionShape& s = args.shape;
  make_head(row + s.k_at + kv_head * s.head_dim, args.k_norm, rotary, s, 1.0F, scratch, lane);
  uint16_t* const key = block + kv_at(s, args.layer, kv_head, 0, position);
  uint16_t* const value = block + kv_at(s, args.layer, kv_head, 1, position);
  for (int d = lane; d < s.head_dim; d += 32) {
    key[d] = to_f16(scratch[d]);
    value[d] = to_f16(row[s.v_at + kv_head * s.head_dim + d]);
  }
  __syncwarp();
}

}  // namespace prosa::backend::cuda
