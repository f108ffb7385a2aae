// Quantized products of up to 64 rows: weights stream through registers once, unpacked to bytes for the integer matrix
// units, with a row's two planes as two columns. Bound by reading the weights.
//
// Order of a sum: exact integers inside a group; a slice's groups in order in float32; a tile row's slices in order.
// None of it depends on the number of rows, blocks or warps, so a row has the same bits in any company.
#pragma once

#include "backend/cuda/kernels/inputs.cuh"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/outputs.cuh"

namespace prosa::backend::cuda {

inline constexpr int kBatchTiles = 4;  // tiles of a warp in flight

/// One lane's part of a tile: rows r and r + 8, columns 8c..8c+7 of both halves.
template <int kBits>
struct LaneTile {
  static constexpr int kWords = kBits;  // 32 weights
  uint32_t word[kWords];

  __device__ void load(const uint8_t* tile, int lane) {
    int at = 0;
    if constexpr (kBits == 8) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint4 v = load_stream(reinterpret_cast<const uint4*>(tile + half * 512) + lane);
        word[4 * half] = v.x, word[4 * half + 1] = v.y, word[4 * half + 2] = v.z, word[4 * half + 3] = v.w;
      }
      return;
    }
    if constexpr (kBits >= 4) {
      const uint4 v = load_stream(reinterpret_cast<const uint4*>(tile) + lane);
      word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
      at = 4;
      tile += 512;
    }
    if constexpr (kBits == 2 || kBits == 3 || kBits == 6) {
      const uint2 v = load_stream(reinterpret_cast<const uint2*>(tile) + lane);
      word[at] = v.x, word[at + 1] = v.y;
      at += 2;
      tile += 256;
    }
    if constexpr (kBits == 3 || kBits == 5) word[at] = load_stream(reinterpret_cast<const uint32_t*>(tile) + lane);
  }

  /// The four registers of the first (half 0) or second matrix instruction.
  __device__ void unpack(int half, uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kBits == 8) a[i] = word[4 * half + i];
      if constexpr (kBits >= 4 && kBits < 8) a[i] = (word[2 * half + i / 2] >> (4 * (i % 2))) & 0x0f0f0f0fU;
      if constexpr (kBits == 2 || kBits == 3) a[i] = (word[half] >> (2 * i)) & 0x03030303U;
      if constexpr (kBits == 6) a[i] |= ((word[4 + half] >> (2 * i)) & 0x03030303U) << 4;
      if constexpr (kBits == 3) a[i] |= ((word[2] >> (4 * half + i)) & 0x01010101U) << 2;
      if constexpr (kBits == 5) a[i] |= ((word[4] >> (4 * half + i)) & 0x01010101U) << 4;
    }
  }
};

/// Tiles that a warp has asked for, with their scales.
template <int kBits, bool kGroup32>
struct Batch {
  static constexpr int kScales = kGroup32 ? 2 : 1;  // scale pairs of a tile
  LaneTile<kBits> tile[kBatchTiles];
  uint2 scale[kBatchTiles][kScales];

  __device__ void load(const DeviceMatrix& m, int tile_row, int k_begin, int k_end, int lane) {
    const int wide = !kGroup32 && m.group == 128 ? 1 : 0;  // two tiles share a scale
    const int groups = kGroup32 ? 2 * m.k_tiles : (m.k_tiles + wide) >> wide;
    const uint8_t* const tiles = m.planes + (static_cast<int64_t>(tile_row) * m.k_tiles + k_begin) * (128 * kBits);
    const uint32_t* const scales = m.scales + (static_cast<int64_t>(tile_row) * groups * 8 + lane / 4) * 2;
#pragma unroll
    for (int i = 0; i < kBatchTiles; ++i) {
      const int k = k_begin + i;
      if (k < k_end) {
        tile[i].load(tiles + i * (128 * kBits), lane);
#pragma unroll
        for (int j = 0; j < kScales; ++j) {
          const int g = kGroup32 ? 2 * k + j : k >> wide;
          scale[i][j] = load_stream(reinterpret_cast<const uint2*>(scales + g * 16));
        }
      }
    }
  }
};

/// Sums of a warp: token 4 * tile + lane % 4, matrix rows lane / 4 and + 8.
template <int kTiles>
struct Sums {
  float at[kTiles][2] = {};
};

__device__ inline void add_group(float (&sum)[2], const int (&d)[4], uint2 pairs, ScaleType type, float2 x) {
  const float2 w0 = unpack_scale(pairs.x, type);
  const float2 w1 = unpack_scale(pairs.y, type);
  const float y0 = static_cast<float>(d[0] * 128 + d[1]) * x.x;
  const float y1 = static_cast<float>(d[2] * 128 + d[3]) * x.x;
  sum[0] = __fmaf_rn(w0.y, x.y, __fmaf_rn(w0.x, y0, sum[0]));
  sum[1] = __fmaf_rn(w1.y, x.y, __fmaf_rn(w1.x, y1, sum[1]));
}

/// planes: this lane's first 16 bytes of token 0's plane, tiles 64 bytes and tokens `token_bytes` apart; scales: of
/// token lane % 4, tokens `token_scales` apart. Only the first `rows` tokens are there.
template <int kBits, bool kGroup32, int kTiles>
__device__ inline void multiply_batch(Sums<kTiles>& sums, const Batch<kBits, kGroup32>& batch, ScaleType type,
                                      int tiles, const uint8_t* planes, int token_bytes, const float2* scales,
                                      int token_scales, int rows, int lane) {
#pragma unroll
  for (int i = 0; i < kBatchTiles; ++i) {
    if (i >= tiles) break;
    uint32_t a[2][4];
    batch.tile[i].unpack(0, a[0]);
    batch.tile[i].unpack(1, a[1]);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if (kTiles > 1 && 4 * t >= rows) break;
      uint4 b{0, 0, 0, 0};
      if (4 * t + lane / 8 < rows) b = *reinterpret_cast<const uint4*>(planes + t * 4 * token_bytes + i * 64);
      const bool there = 4 * t + lane % 4 < rows;
      int d[4] = {0, 0, 0, 0};
      mma_u8s8(d, a[0], b.x, b.y);
      if constexpr (kGroup32) {
        if (there) add_group(sums.at[t], d, batch.scale[i][0], type, scales[t * 4 * token_scales + 2 * i]);
        d[0] = d[1] = d[2] = d[3] = 0;
      }
      mma_u8s8(d, a[1], b.z, b.w);
      if (there) {
        add_group(sums.at[t], d, batch.scale[i][kGroup32 ? 1 : 0], type,
                  scales[t * 4 * token_scales + (kGroup32 ? 2 * i + 1 : i)]);
      }
    }
  }
}

// ---- up to four rows, every warp a slice: the kernels of decoding

inline constexpr int kFewRows = 4;
inline constexpr int kPlaneBytes = kBatchTiles * 64 + 64;  // of a slice, apart so that two planes meet other banks
inline constexpr int kSliceScales = 2 * kBatchTiles;

/// What a warp keeps in shared memory.
struct WarpInputs {
  uint8_t planes[kFewRows][2][kPlaneBytes];
  float2 scales[kFewRows][kSliceScales];
};

/// A block is some tile rows x `slices` warps. A warp has its weights in registers before it waits for the kernel that
/// makes its inputs; it makes the inputs of its slice itself, so only the joining of slices needs the block.
template <int kBits, bool kGroup32, Input kIn, Output kOut>
__global__ __launch_bounds__(512) void gemv_few_kernel(DeviceMatrix m, InputArgs in, OutputArgs out,
                                                       const PassArgs* pass, int tile_rows_a_block) {
  extern __shared__ __align__(16) uint8_t shared[];
  signal_next();
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int slice = warp % m.slices;
  const int tile_row = blockIdx.x * tile_rows_a_block + warp / m.slices;
  const int k_begin = slice * kBatchTiles;
  const int tiles = min(kBatchTiles, m.k_tiles - k_begin);
  const bool mine = tile_row < m.rows / kTileRows;
  Batch<kBits, kGroup32> batch;
  if (mine) batch.load(m, tile_row, k_begin, k_begin + tiles, lane);
  const int segment0 = k_begin * kTileCols / kSegment;
  float4 weight[2];
#pragma unroll
  for (int s = 0; s < 2; ++s) weight[s] = input_weight<kIn>(in, segment0 + s, lane);
  const int rows = pass->rows;  // written before the first kernel of the pass was launched
  wait_previous();

  constexpr int kPitch = kFewRows + 1;
  float* const partial = reinterpret_cast<float*>(shared);  // [warps][16][kPitch]
  WarpInputs& inputs = reinterpret_cast<WarpInputs*>(shared + blockDim.x / 32 * kTileRows * kPitch * sizeof(float))[warp];
  const int joined = tile_rows_a_block * kTileRows;  // matrix rows of the block
  const int n = blockIdx.x * joined + threadIdx.x;   // the one that this thread joins
  float old[kFewRows];
  if (kOut == Output::add && threadIdx.x < joined && n < out.limit) {
#pragma unroll
    for (int t = 0; t < kFewRows; ++t) {
      if (t < rows) old[t] = out.out[static_cast<int64_t>(t) * out.stride + n];
    }
  }
  for (int row = 0; row < rows; ++row) {
    const float scale = kIn == Input::norm ? row_scale(in, row, lane) : 1.0F;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      if (2 * s >= tiles) break;
      const float4 v = input_four<kIn>(in, row, segment0 + s, lane, weight[s], scale);
      quantize_segment<kGroup32>(v, lane, inputs.planes[row][0] + s * kSegment, inputs.planes[row][1] + s * kSegment,
                                 inputs.scales[row] + s * (kGroup32 ? 4 : 2));
    }
  }
  __syncwarp();
  Sums<1> sums;
  if (mine) {
    multiply_batch<kBits, kGroup32, 1>(sums, batch, m.scale_type, tiles,
                                       inputs.planes[lane / 8][lane / 4 % 2] + lane % 4 * 16, 2 * kPlaneBytes,
                                       inputs.scales[lane % 4], kSliceScales, rows, lane);
  }
  partial[(warp * kTileRows + lane / 4) * kPitch + lane % 4] = sums.at[0][0];
  partial[(warp * kTileRows + lane / 4 + 8) * kPitch + lane % 4] = sums.at[0][1];
  __syncthreads();
  if (threadIdx.x >= joined) return;
  const int local = threadIdx.x / kTileRows;
  const float* const first = partial + (local * m.slices * kTileRows + threadIdx.x % kTileRows) * kPitch;
  const auto sum_of = [&](const float* from, int token) {
    float y = 0;
    for (int s = 0; s < m.slices; ++s) y += from[s * kTileRows * kPitch + token];
    return y;
  };
  if (kOut == Output::silu) {
    if (local % 2 != 0) return;
    const int column = (blockIdx.x * tile_rows_a_block + local) / 2 * kTileRows + threadIdx.x % kTileRows;
    for (int t = 0; t < rows; ++t)
      put_pair(out, t, column, sum_of(first, t), sum_of(first + m.slices * kTileRows * kPitch, t));
  } else if (n < out.limit && n < m.rows) {
#pragma unroll
    for (int t = 0; t < kFewRows; ++t) {
      if (t >= rows) break;
      const float y = sum_of(first, t);
      out.out[static_cast<int64_t>(t) * out.stride + n] = kOut == Output::add ? old[t] + y : y;
    }
  }
}

// ---- any number of rows, any number of tiles a slice

/// Where a block reads its inputs: planes of 8 bits and scales of their groups, in global memory.
struct ActView {
  const uint8_t* planes;  // [row][2][plane_stride]
  const float2* scales;   // [row][groups]
  int plane_stride;
  int groups;
};

/// A warp sums all slices of a tile row itself, one after the other, and goes on to the next tile row. kTiles: columns
/// of 8, four rows each. kFused: the block makes its inputs (Input::norm, up to four rows) in shared memory.
template <int kBits, bool kGroup32, int kTiles, bool kFused>
__global__ __launch_bounds__(256, kTiles == 1 ? 2 : 1) void gemv_stream_kernel(DeviceMatrix m, InputArgs in, ActView act,
                                                                              OutputArgs out, const PassArgs* pass) {
  extern __shared__ __align__(16) uint8_t shared[];
  signal_next();
  const int warp = threadIdx.x / 32;
  const int warps = blockDim.x / 32;
  const int lane = threadIdx.x % 32;
  const bool pairs = out.mode == Output::silu;
  const int units = m.rows / kTileRows / (pairs ? 2 : 1);  // tile rows, or pairs of them
  const int step = gridDim.x * warps;
  int unit = blockIdx.x + warp * gridDim.x;  // the last ones fall on different multiprocessors
  Batch<kBits, kGroup32> batch;
  const auto tile_row_of = [&](int u, int half) { return pairs ? 2 * u + half : u; };
  if (unit < units) batch.load(m, tile_row_of(unit, 0), 0, min(m.per_slice, m.k_tiles), lane);
  const int rows = pass->rows;
  wait_previous();
  if constexpr (kFused) {
    uint8_t* const planes = shared;
    float2* const scales = reinterpret_cast<float2*>(shared + 4 * 2 * act.plane_stride);
    const int segments = (m.k_tiles + 1) / 2;
    for (int row = 0; row < rows; ++row) {
      const float scale = row_scale(in, row, lane);
      for (int s = warp; s < segments; s += warps) {
        const float4 v = input_four<Input::norm>(in, row, s, lane, input_weight<Input::norm>(in, s, lane), scale);
        uint8_t* const to = planes + row * 2 * act.plane_stride + s * kSegment;
        quantize_segment<kGroup32>(v, lane, to, to + act.plane_stride, scales + row * act.groups + s * (kGroup32 ? 4 : 2));
      }
    }
    __syncthreads();
    act.planes = planes;
    act.scales = scales;
  }
  const uint8_t* const planes =
      act.planes + static_cast<int64_t>(lane / 8 * 2 + lane / 4 % 2) * act.plane_stride + lane % 4 * 16;
  const float2* const scales = act.scales + lane % 4 * act.groups;
  for (; unit < units; unit += step) {
    Sums<kTiles> gates;
    for (int half = 0; half < (pairs ? 2 : 1); ++half) {
      Sums<kTiles> total;
      for (int k0 = 0; k0 < m.k_tiles; k0 += m.per_slice) {
        Sums<kTiles> sums;
        const int k_end = min(k0 + m.per_slice, m.k_tiles);
        for (int k = k0; k < k_end; k += kBatchTiles) {
          const Batch<kBits, kGroup32> current = batch;
          const int next = k + kBatchTiles < k_end ? k + kBatchTiles : k_end;
          if (next < m.k_tiles) {
            batch.load(m, tile_row_of(unit, half), next, min(next + kBatchTiles, m.k_tiles), lane);
          } else if (pairs && half == 0) {
            batch.load(m, tile_row_of(unit, 1), 0, min(kBatchTiles, m.k_tiles), lane);
          } else if (unit + step < units) {
            batch.load(m, tile_row_of(unit + step, 0), 0, min(kBatchTiles, m.k_tiles), lane);
          }
          multiply_batch<kBits, kGroup32, kTiles>(sums, current, m.scale_type, k_end - k, planes + k * 64,
                                                  2 * act.plane_stride, scales + (kGroup32 ? 2 * k : k), act.groups,
                                                  rows, lane);
        }
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          total.at[t][0] += sums.at[t][0];
          total.at[t][1] += sums.at[t][1];
        }
      }
      if (pairs && half == 0) {
        gates = total;
        continue;
      }
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int token = 4 * t + lane % 4;
        if (token >= rows) continue;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int n = unit * kTileRows + lane / 4 + 8 * i;
          if (pairs) {
            put_pair(out, token, n, gates.at[t][i], total.at[t][i]);
          } else {
            put(out, pass, token, n, total.at[t][i]);
          }
        }
      }
    }
  }
}

}  // namespace prosa::backend::cuda
