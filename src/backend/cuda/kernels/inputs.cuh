// The rows that products read: norms and gates, then 15-bit integers in two planes of 8 bits for quantized weights.
//
// A warp works on 128 columns of a row, a lane on four neighbours. A group of columns (32, or 64 for groups of 64 and
// 128) shares a scale: x = scale * (128 * high + low). Both kernels that make inputs (before many rows, inside the
// product of few) use these functions, so a row has the same bits in both.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

inline constexpr int kSegment = 128;       // columns of a warp
inline constexpr float kActMax = 16256.0F;  // 127 * 128

__device__ inline float4 load_four(const float* row, int col, int width) {
  if (col + 4 <= width) return *reinterpret_cast<const float4*>(row + col);
  float4 v{0, 0, 0, 0};
  if (col < width) v.x = row[col];
  if (col + 1 < width) v.y = row[col + 1];
  if (col + 2 < width) v.z = row[col + 2];
  return v;
}

__device__ inline float square_sum(float4 v) {
  return __fmaf_rn(v.w, v.w, __fmaf_rn(v.z, v.z, __fmaf_rn(v.y, v.y, v.x * v.x)));
}

/// The sum of squares over a segment, in every lane.
__device__ inline float segment_squares(const InputArgs& in, int row, int segment, int lane) {
  const float4 v = load_four(in.x + static_cast<int64_t>(row) * in.x_stride, segment * kSegment + lane * 4, in.width);
  return sum_lanes(square_sum(v));
}

/// Columns 128 * segment + 4 * lane ... + 3. `squares` [segments]: of the row, for Input::norm.
__device__ inline float4 input_four(const InputArgs& in, int row, int segment, int lane, const float* squares) {
  const int col = segment * kSegment + lane * 4;
  const float4 x = load_four(in.x + static_cast<int64_t>(row) * in.x_stride, col, in.width);
  if (in.mode == Input::plain) return x;
  if (in.mode == Input::norm) {
    float total = 0;
    for (int s = 0; s * kSegment < in.width; ++s) total += squares[s];
    const float scale = 1.0F / sqrtf(total / static_cast<float>(in.width) + in.eps);
    const float4 w = load_four(in.weight, col, in.width);
    return {x.x * scale * w.x, x.y * scale * w.y, x.z * scale * w.z, x.w * scale * w.w};
  }
  const float4 y = load_four(in.y + static_cast<int64_t>(row) * in.y_stride, col, in.width);
  if (in.mode == Input::silu) return {silu(x.x) * y.x, silu(x.y) * y.y, silu(x.z) * y.z, silu(x.w) * y.w};
  float total = sum_group(square_sum(x), in.head < kSegment ? in.head / 4 : 32);
  const float scale = 1.0F / sqrtf(total / static_cast<float>(in.head) + in.eps);
  const float4 w = load_four(in.weight, col % in.head, in.head);
  return {x.x * scale * w.x * silu(y.x), x.y * scale * w.y * silu(y.y), x.z * scale * w.z * silu(y.z),
          x.w * scale * w.w * silu(y.w)};
}

/// Writes a segment of a row in the order in which the product's lanes read it: in a tile of 64 columns, quarter c has
/// the columns 8c..8c+7 of both halves.    planes: two of `plane_stride` bytes; scales: {scale, scale * sum} [groups]
__device__ inline void quantize_segment(float4 v, int segment, int lane, int group, int k_tiles, uint8_t* planes,
                                        int plane_stride, float2* scales) {
  const int lanes = group / 4;
  const float largest = max_group(fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))), lanes);
  const float inverse = largest > 0 ? kActMax / largest : 0.0F;
  const float scale = largest / kActMax;
  const int q[4] = {__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse), __float2int_rn(v.z * inverse),
                    __float2int_rn(v.w * inverse)};
  const int sum = sum_group(q[0] + q[1] + q[2] + q[3], lanes);
  uint32_t high = 0;
  uint32_t low = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int h = (q[i] + 64) >> 7;
    high |= (static_cast<uint32_t>(h) & 0xffU) << (8 * i);
    low |= (static_cast<uint32_t>(q[i] - (h << 7)) & 0xffU) << (8 * i);
  }
  const int col = segment * kSegment + lane * 4;
  const int tile = col / kTileCols;
  if (tile >= k_tiles) return;
  const int in_half = col % 32;
  const int at = tile * 64 + (in_half / 8) * 16 + ((col % 64) / 32) * 8 + ((in_half % 8) / 4) * 4;
  *reinterpret_cast<uint32_t*>(planes + at) = high;
  *reinterpret_cast<uint32_t*>(planes + plane_stride + at) = low;
  if (lane % lanes == 0) scales[col / group] = {scale, scale * static_cast<float>(sum)};
}

}  // namespace prosa::backend::cuda
