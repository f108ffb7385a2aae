// One token of the delta rule: convolution, gates and a state's step, as functions of what stands in shared memory and
// registers. Every kernel that moves a state by single tokens uses them, so the bits are the same in all of them.
//
// 128 threads have 16 value columns of a value head in registers; four lanes next to each other share a row of them.
// Order of a sum over key dims: a thread's rows (i + 32 m) in order, eight lanes by halves, four warps in order.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

inline constexpr int kDeltaThreads = 128;

/// The last inputs of one channel, in registers: taps - 1 old ones, and the weights. kTaps: as many as there are.
template <int kTaps>
struct Channel {
  float weight[kTaps];
  float past[kTaps];  // oldest first; the last one is the token's own
  int at = -1;        // column of a row of products; -1: none

  __device__ void load_weight(const DeltaShape& s, const DeltaLayer& layer, int channel) {
    at = channel;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap)
      weight[tap] = channel >= 0 ? layer.conv[static_cast<int64_t>(tap) * s.conv_dim + channel] : 0.0F;
  }
  /// Before the rows are there. position: of the next token.
  __device__ void load_past(const DeltaShape& s, const float* window, int position) {
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap) {
      const int slot = (position + tap + 1) % kTaps;  // position - (kTaps - 1 - tap)
      past[tap] = window[static_cast<int64_t>(slot) * s.conv_dim + at];
    }
  }
  __device__ void load(const DeltaShape& s, const DeltaLayer& layer, const float* window, int position, int channel) {
    load_weight(s, layer, channel);
    load_past(s, window, position);
  }
  /// SiLU of the convolution with the row's value; moves on by one token.
  __device__ float step(float x) {
    past[kTaps - 1] = x;
    float sum = 0;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) sum = __fmaf_rn(weight[tap], past[tap], sum);
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap) past[tap] = past[tap + 1];
    return silu(sum);
  }
};

/// kRows: rows of the state in a thread, key_dim / 32 rounded up. kTiles: of 16 value columns, 128 threads each.
template <int kRows, int kTiles = 1>
struct DeltaShared {
  static constexpr int kDims = kRows * 32;
  static constexpr int kChannels = 2 * kDims + kTiles * kStateColumns;
  float channels[kChannels];  // q, k, v after the convolution
  float gates[2];             // decay, beta
  float products[3];          // q . q, k . k, q . k
  alignas(16) float sums[kTiles][2][kDeltaThreads / 32][kStateColumns];
};

/// The channel of a row of products that stands at place i of DeltaShared::channels, or -1. tile: the first of `tiles`.
__device__ inline int delta_channel(const DeltaShape& s, int dims, int head, int tile, int i, int tiles = 1) {
  const int key_head = head / (s.value_heads / s.key_heads);
  if (i < dims) return i < s.key_dim ? key_head * s.key_dim + i : -1;
  if (i < 2 * dims) return i - dims < s.key_dim ? (s.key_heads + key_head) * s.key_dim + i - dims : -1;
  const int column = tile * kStateColumns + i - 2 * dims;
  if (i >= 2 * dims + tiles * kStateColumns || column >= s.value_dim) return -1;
  return 2 * s.key_heads * s.key_dim + head * s.value_dim + column;
}

__device__ inline float decay_of(float gate, float rate, float bias) { return expf(-rate * softplus(gate + bias)); }
__device__ inline float beta_of(float gate) { return 1.0F / (1.0F + expf(-gate)); }

/// What of the step needs the channels alone: the state's products with key and query, and what the norms need. All of
/// it is in `shared` after the threads' next barrier. keys: the thread's. thread: of the 128 of its tile.
template <int kRows, int kTiles>
__device__ inline void delta_sums(DeltaShared<kRows, kTiles>& shared, const float4 (&state)[kRows],
                                  float (&keys)[kRows], int thread, int tile = 0) {
  constexpr int kDims = kRows * 32;
  const float* const channels = shared.channels;
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int quarter = thread % 4;
  const int row0 = thread / 4;
  float4 by_key{0, 0, 0, 0};
  float4 by_query{0, 0, 0, 0};
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const float q = channels[row0 + 32 * m];
    const float k = channels[kDims + row0 + 32 * m];
    const float4 v = state[m];
    keys[m] = k;
    by_key.x = __fmaf_rn(v.x, k, by_key.x), by_key.y = __fmaf_rn(v.y, k, by_key.y);
    by_key.z = __fmaf_rn(v.z, k, by_key.z), by_key.w = __fmaf_rn(v.w, k, by_key.w);
    by_query.x = __fmaf_rn(v.x, q, by_query.x), by_query.y = __fmaf_rn(v.y, q, by_query.y);
    by_query.z = __fmaf_rn(v.z, q, by_query.z), by_query.w = __fmaf_rn(v.w, q, by_query.w);
  }
  if (warp < 3 && tile == 0) {  // one product a warp
    const float* const left = warp == 1 ? channels + kDims : channels;
    const float* const right = warp == 0 ? channels : channels + kDims;
    float sum = 0;
#pragma unroll
    for (int m = 0; m < kRows; ++m) sum = __fmaf_rn(left[lane + 32 * m], right[lane + 32 * m], sum);
    sum = sum_lanes(sum);
    if (lane == 0) shared.products[warp] = sum;
  }
#pragma unroll
  for (int step = 16; step >= 4; step /= 2) {
    by_key.x += __shfl_xor_sync(0xffffffffU, by_key.x, step), by_key.y += __shfl_xor_sync(0xffffffffU, by_key.y, step);
    by_key.z += __shfl_xor_sync(0xffffffffU, by_key.z, step), by_key.w += __shfl_xor_sync(0xffffffffU, by_key.w, step);
    by_query.x += __shfl_xor_sync(0xffffffffU, by_query.x, step);
    by_query.y += __shfl_xor_sync(0xffffffffU, by_query.y, step);
    by_query.z += __shfl_xor_sync(0xffffffffU, by_query.z, step);
    by_query.w += __shfl_xor_sync(0xffffffffU, by_query.w, step);
  }
  if (lane < 4) {
    *reinterpret_cast<float4*>(&shared.sums[tile][0][warp][quarter * 4]) = by_key;
    *reinterpret_cast<float4*>(&shared.sums[tile][1][warp][quarter * 4]) = by_query;
  }
}

/// The rest of it. Returns the outputs of columns 4 * (thread % 4) ... + 3.
template <int kRows, int kTiles>
__device__ inline float4 delta_update(const DeltaShared<kRows, kTiles>& shared, float4 (&state)[kRows],
                                      const float (&keys)[kRows], int key_dim, int thread, int tile = 0) {
  constexpr int kDims = kRows * 32;
  const int quarter = thread % 4;
  const auto& sums = shared.sums[tile];
  // k and q are x / |x|, q also / sqrt(key_dim): numbers that the sums above are multiplied with afterwards.
  const float decay = shared.gates[0];
  const float q_scale = rsqrtf(shared.products[0] + 1e-6F) * rsqrtf(static_cast<float>(key_dim));
  const float k_scale = rsqrtf(shared.products[1] + 1e-6F);
  const float both = shared.products[2] * q_scale * k_scale;
  float d[4];
  float out[4];
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int column = quarter * 4 + c;
    const float known = ((sums[0][0][column] + sums[0][1][column]) + sums[0][2][column]) + sums[0][3][column];
    d[c] = shared.gates[1] * (shared.channels[2 * kDims + tile * kStateColumns + column] - known * decay * k_scale);
    const float before = ((sums[1][0][column] + sums[1][1][column]) + sums[1][2][column]) + sums[1][3][column];
    out[c] = __fmaf_rn(both, d[c], before * decay * q_scale);
  }
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const float k = keys[m] * k_scale;
    float4& v = state[m];
    v.x = __fmaf_rn(k, d[0], v.x * decay), v.y = __fmaf_rn(k, d[1], v.y * decay);
    v.z = __fmaf_rn(k, d[2], v.z * decay), v.w = __fmaf_rn(k, d[3], v.w * decay);
  }
  return {out[0], out[1], out[2], out[3]};
}

}  // namespace prosa::backend::cuda
