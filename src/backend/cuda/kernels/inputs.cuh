// The rows that products read: norms and gates, then 15-bit integers in two planes of 8 bits for quantized weights.
//
// A warp works on a segment of 128 columns of a row, a lane on four neighbours. A group of columns (32, or 64 for
// groups of 64 and 128) shares a scale: x = scale * (128 * high + low). Every kernel that makes inputs uses these
// functions, so a row has the same bits in all of them.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

inline constexpr int kSegment = 128;        // columns of a warp
inline constexpr float kActMax = 16256.0F;  // 127 * 128
inline constexpr float kActLeast = 1e-30F;  // a group whose largest value is below is zero

/// Rows have a multiple of four columns (model.cpp sees to it) and begin at 16 bytes.
__device__ inline float4 load_four(const float* row, int col, int width) {
  if (col < width) return *reinterpret_cast<const float4*>(row + col);
  return {0, 0, 0, 0};
}

__device__ inline float add_squares(float4 v, float sum) {
  return __fmaf_rn(v.w, v.w, __fmaf_rn(v.z, v.z, __fmaf_rn(v.y, v.y, __fmaf_rn(v.x, v.x, sum))));
}

/// 1 / rms of a row from the sums of squares of its segments, which are added in order.
__device__ inline float scale_of(const float* squares, int segments, const InputArgs& in) {
  float total = 0;
#pragma unroll 8
  for (int s = 0; s < segments; ++s) total += squares[s];
  return rsqrtf(total / static_cast<float>(in.width) + in.eps);
}

/// What of a segment's inputs does not depend on the row: read before the row is there.
template <Input kMode>
__device__ inline float4 input_weight(const InputArgs& in, int segment, int lane) {
  const int col = segment * kSegment + lane * 4;
  if (kMode == Input::norm) return load_four(in.weight, col, in.width);
  if (kMode == Input::gated) return load_four(in.weight, col % in.head, in.head);
  return {1, 1, 1, 1};
}

/// Four columns of an input from what stands there, but for a factor: `late` times what is returned is the input. For
/// Input::norm the whole row has one more factor, its scale_of(), which products apply to their sums. So nothing waits
/// for the norms.
template <Input kMode>
__device__ inline float4 input_of(float4 x, float4 y, float4 w, int head, float eps, float& late) {
  late = 1;
  if (kMode == Input::plain) return x;
  if (kMode == Input::norm) return {x.x * w.x, x.y * w.y, x.z * w.z, x.w * w.w};
  if (kMode == Input::silu) return {silu(x.x) * y.x, silu(x.y) * y.y, silu(x.z) * y.z, silu(x.w) * y.w};
  float total = add_squares(x, 0);
  if (head == kSegment) {
    total = sum_lanes(total);
  } else {
    total = sum_group(total, head / 4);
  }
  late = rsqrtf(total / static_cast<float>(head) + eps);
  return {x.x * w.x * silu(y.x), x.y * w.y * silu(y.y), x.z * w.z * silu(y.z), x.w * w.w * silu(y.w)};
}

/// Columns 128 * segment + 4 * lane ... + 3, as input_of() makes them.
template <Input kMode>
__device__ inline float4 input_four(const InputArgs& in, int row, int segment, int lane, float4 w, float& late) {
  const int col = segment * kSegment + lane * 4;
  const float4 x = load_four(in.x + static_cast<int64_t>(row) * in.x_stride, col, in.width);
  float4 y{0, 0, 0, 0};
  if (kMode == Input::gated || kMode == Input::silu)
    y = load_four(in.y + static_cast<int64_t>(row) * in.y_stride, col, in.width);
  return input_of<kMode>(x, y, w, in.head, in.eps, late);
}

/// Four columns as two planes of 8 bits, and their group's {scale, sum of the inputs}, which every lane of it has.
struct Quantized {
  uint32_t high;
  uint32_t low;
  float2 scale;
};
template <bool kGroup32>
__device__ inline Quantized quantize_four(float4 v, float late) {
  constexpr int kLanes = kGroup32 ? 8 : 16;
  float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
  float sum = (v.x + v.y) + (v.z + v.w);
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, step));
    sum += __shfl_xor_sync(0xffffffffU, sum, step);
  }
  const float inverse = largest > kActLeast ? __fdividef(kActMax, largest) : 0.0F;
  const int q[4] = {__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse), __float2int_rn(v.z * inverse),
                    __float2int_rn(v.w * inverse)};
  Quantized answer{0, 0, {largest > kActLeast ? largest * (1.0F / kActMax) * late : 0.0F, sum * late}};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int h = (q[i] + 64) >> 7;
    answer.high |= (static_cast<uint32_t>(h) & 0xffU) << (8 * i);
    answer.low |= (static_cast<uint32_t>(q[i] - (h << 7)) & 0xffU) << (8 * i);
  }
  return answer;
}

/// Writes a segment in the order in which the product's lanes read it: in a tile of 64 columns, quarter c has the
/// columns 8c..8c+7 of both halves.    high, low [128 bytes]; scales: {scale, sum of the inputs} [2, or 4 of 32
/// columns]
template <bool kGroup32>
__device__ inline void quantize_segment(float4 v, float late, int lane, uint8_t* high, uint8_t* low, float2* scales) {
  constexpr int kLanes = kGroup32 ? 8 : 16;
  const Quantized four = quantize_four<kGroup32>(v, late);
  const int at = lane / 16 * 64 + lane % 8 / 2 * 16 + lane % 16 / 8 * 8 + lane % 2 * 4;
  *reinterpret_cast<uint32_t*>(high + at) = four.high;
  *reinterpret_cast<uint32_t*>(low + at) = four.low;
  if (lane % kLanes == 0) scales[lane / kLanes] = four.scale;
}

/// Writes a segment of a row for batch.cuh: the bytes of a plane lie as the matrix instruction counts the columns of a
/// half tile (first 0..3, 8..11, 16..19, 24..27, then the others), its pieces of 16 bytes turned by the plane's number.
/// tiles: the segment's planes [planes][128 bytes]; scales: of its two groups [2][kMaxRows]
__device__ inline void quantize_turned(float4 v, float late, int lane, int row, uint8_t* tiles, float2* scales) {
  const Quantized four = quantize_four<false>(v, late);
  const int piece = lane / 16 * 4 + lane % 16 / 8 * 2 + lane % 2;
  const int in_piece = lane % 8 / 2 * 4;
  const int high = 2 * row;
  const int low = high + 1;
  *reinterpret_cast<uint32_t*>(tiles + high * 128 + (piece ^ high % 8) * 16 + in_piece) = four.high;
  *reinterpret_cast<uint32_t*>(tiles + low * 128 + (piece ^ low % 8) * 16 + in_piece) = four.low;
  if (lane % 16 == 0) scales[lane / 16 * kMaxRows + row] = four.scale;
}

}  // namespace prosa::backend::cuda
