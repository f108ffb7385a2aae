// Quantized products of up to 64 rows: weights stream through registers once, unpacked to bytes for the integer matrix
// units, with a row's two planes as two columns. Bound by reading the weights.
//
// Order of a sum: exact integers inside a group; a warp's groups in order in float32; a tile row's warps (slices) in
// order. None of it depends on the number of rows, blocks or warps, so a row has the same bits in any company.
// A block is `tile rows a block` x `slices` warps. A warp has its first weights in registers before it waits for the
// kernel that makes its inputs.
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

template <int kBits, bool kGroup32>
struct Batch {
  static constexpr int kScales = kGroup32 ? 2 : 1;  // scale pairs of a tile
  LaneTile<kBits> tile[kBatchTiles];
  uint2 scale[kBatchTiles][kScales];

  __device__ void load(const DeviceMatrix& m, int tile_row, int k_begin, int k_end, int lane) {
    const int groups = kGroup32 ? 2 * m.k_tiles : (m.group == 128 ? (m.k_tiles + 1) / 2 : m.k_tiles);
    const uint8_t* tiles = m.planes + static_cast<int64_t>(tile_row) * m.k_tiles * (128 * kBits);
    const uint32_t* scales = m.scales + static_cast<int64_t>(tile_row) * groups * 16 + (lane / 4) * 2;
#pragma unroll
    for (int i = 0; i < kBatchTiles; ++i) {
      const int k = k_begin + i;
      if (k >= k_end) break;
      tile[i].load(tiles + static_cast<int64_t>(k) * (128 * kBits), lane);
#pragma unroll
      for (int j = 0; j < kScales; ++j) {
        const int g = kGroup32 ? 2 * k + j : (m.group == 128 ? k / 2 : k);
        scale[i][j] = load_stream(reinterpret_cast<const uint2*>(scales + g * 16));
      }
    }
  }
};

/// Where a block reads its inputs: planes of 8 bits and scales of their groups, in shared or global memory.
struct ActView {
  const uint8_t* planes;   // [row][2][plane_stride]
  const float2* scales;    // [row][groups]
  int plane_stride;
  int groups;
};

template <int kTiles>
struct Sums {
  float at[kTiles][2] = {};  // token 4 * tile + lane % 4; matrix rows lane / 4 and + 8
};

template <int kTiles>
__device__ inline void add_group(Sums<kTiles>& sums, int tile, const int (&d)[4], uint2 pairs, ScaleType type,
                                 const ActView& act, int token, int rows, int group) {
  if (token >= rows) return;
  const float2 x = act.scales[token * act.groups + group];
  const float2 w0 = unpack_scale(pairs.x, type);
  const float2 w1 = unpack_scale(pairs.y, type);
  const float y0 = static_cast<float>(d[0] * 128 + d[1]) * x.x;
  const float y1 = static_cast<float>(d[2] * 128 + d[3]) * x.x;
  sums.at[tile][0] = __fmaf_rn(w0.y, x.y, __fmaf_rn(w0.x, y0, sums.at[tile][0]));
  sums.at[tile][1] = __fmaf_rn(w1.y, x.y, __fmaf_rn(w1.x, y1, sums.at[tile][1]));
}

template <int kBits, bool kGroup32, int kTiles>
__device__ inline void multiply_batch(Sums<kTiles>& sums, const Batch<kBits, kGroup32>& batch, const ActView& act,
                                      ScaleType type, int k_begin, int k_end, int rows, int lane) {
#pragma unroll
  for (int i = 0; i < kBatchTiles; ++i) {
    const int k = k_begin + i;
    if (k >= k_end) break;
    uint32_t a[2][4];
    batch.tile[i].unpack(0, a[0]);
    batch.tile[i].unpack(1, a[1]);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if (4 * t >= rows) break;
      const int column = 4 * t + lane / 8;  // the token whose plane this lane loads
      uint4 b{0, 0, 0, 0};
      if (column < rows) {
        b = *reinterpret_cast<const uint4*>(
            act.planes + (static_cast<int64_t>(column) * 2 + (lane / 4) % 2) * act.plane_stride + k * 64 +
            (lane % 4) * 16);
      }
      int d[4] = {0, 0, 0, 0};
      mma_u8s8(d, a[0], b.x, b.y);
      if constexpr (kGroup32) {
        add_group(sums, t, d, batch.scale[i][0], type, act, 4 * t + lane % 4, rows, 2 * k);
        d[0] = d[1] = d[2] = d[3] = 0;
      }
      mma_u8s8(d, a[1], b.z, b.w);
      add_group(sums, t, d, batch.scale[i][kGroup32 ? 1 : 0], type, act, 4 * t + lane % 4, rows,
                kGroup32 ? 2 * k + 1 : k);
    }
  }
}

/// Fills a block's shared memory with its inputs, all rows. Ends with a barrier.
__device__ inline void make_inputs(const InputArgs& in, int rows, int group, int k_tiles, uint8_t* planes,
                                   int plane_stride, float2* scales, int groups, float* squares) {
  const int warp = threadIdx.x / 32;
  const int warps = blockDim.x / 32;
  const int lane = threadIdx.x % 32;
  const int segments = (k_tiles * kTileCols + kSegment - 1) / kSegment;
  if (in.mode == Input::norm) {
    for (int i = warp; i < rows * segments; i += warps) {
      const float sum = segment_squares(in, i / segments, i % segments, lane);
      if (lane == 0) squares[i] = sum;
    }
    __syncthreads();
  }
  for (int i = warp; i < rows * segments; i += warps) {
    const int row = i / segments;
    const float4 v = input_four(in, row, i % segments, lane, squares + row * segments);
    quantize_segment(v, i % segments, lane, group, k_tiles, planes + static_cast<int64_t>(row) * 2 * plane_stride,
                     plane_stride, scales + row * groups);
  }
  __syncthreads();
}

/// kTiles: columns of 8, four rows each. kFused: the block makes its inputs. kOnce: every warp has one batch.
template <int kBits, bool kGroup32, int kTiles, bool kFused, bool kOnce>
__global__ __launch_bounds__(512, 1) void gemv_kernel(DeviceMatrix m, InputArgs in, ActView act, OutputArgs out, const PassArgs* pass,
                            int tile_rows_a_block) {
  extern __shared__ __align__(16) uint8_t shared[];
  signal_next();
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int slice = warp % m.slices;
  const int tile_rows = m.rows / kTileRows;
  const int per_slice = (m.k_tiles + m.slices - 1) / m.slices;
  const int k_begin = slice * per_slice;
  const int k_end = min(k_begin + per_slice, m.k_tiles);
  const int tile_row0 = blockIdx.x * tile_rows_a_block + warp / m.slices;
  const int step = gridDim.x * tile_rows_a_block;

  Batch<kBits, kGroup32> batch;
  if (tile_row0 < tile_rows) batch.load(m, tile_row0, k_begin, k_end, lane);
  const int rows = pass->rows;  // written before the first kernel of the pass was launched
  wait_previous();

  constexpr int kTokens = 4 * kTiles;
  float* const partial = reinterpret_cast<float*>(shared);  // [warps][16][tokens + 1]
  if constexpr (kFused) {
    uint8_t* at = shared + blockDim.x / 32 * kTileRows * (kTokens + 1) * sizeof(float);
    float2* scales = reinterpret_cast<float2*>(at);
    float* squares = reinterpret_cast<float*>(scales + kTokens * act.groups);
    uint8_t* planes = reinterpret_cast<uint8_t*>(squares + kTokens * ((m.k_tiles + 1) / 2 + 3) / 4 * 4);
    make_inputs(in, rows, kGroup32 ? 32 : 64, m.k_tiles, planes, act.plane_stride, scales, act.groups, squares);
    act.planes = planes;
    act.scales = scales;
  }
  for (int first = blockIdx.x * tile_rows_a_block; first < tile_rows; first += step) {
    const int tile_row = first + warp / m.slices;
    Sums<kTiles> sums;
    if (kOnce) {
      if (tile_row < tile_rows)
        multiply_batch<kBits, kGroup32, kTiles>(sums, batch, act, m.scale_type, k_begin, k_end, rows, lane);
    } else if (tile_row < tile_rows) {
      for (int k = k_begin; k < k_end; k += kBatchTiles) {
        const Batch<kBits, kGroup32> current = batch;
        if (k + kBatchTiles < k_end) {
          batch.load(m, tile_row, k + kBatchTiles, k_end, lane);
        } else if (tile_row + step < tile_rows) {
          batch.load(m, tile_row + step, k_begin, k_end, lane);
        }
        multiply_batch<kBits, kGroup32, kTiles>(sums, current, act, m.scale_type, k, k_end, rows, lane);
      }
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if (4 * t >= rows) break;
      const int token = 4 * t + lane % 4;
      partial[(warp * kTileRows + lane / 4) * (kTokens + 1) + token] = sums.at[t][0];
      partial[(warp * kTileRows + lane / 4 + 8) * (kTokens + 1) + token] = sums.at[t][1];
    }
    __syncthreads();
    const auto sum_of = [&](int local_tile, int r, int token) {
      float y = 0;
      for (int s = 0; s < m.slices; ++s) {
        y += partial[((local_tile * m.slices + s) * kTileRows + r) * (kTokens + 1) + token];
      }
      return y;
    };
    if (out.mode == Output::silu) {
      for (int i = threadIdx.x; i < tile_rows_a_block / 2 * kTileRows * rows; i += blockDim.x) {
        const int r = i % kTileRows;
        const int pair = i / kTileRows % (tile_rows_a_block / 2);
        const int token = i / kTileRows / (tile_rows_a_block / 2);
        const int n = (first / 2 + pair) * kTileRows + r;
        put_pair(out, token, n, sum_of(2 * pair, r, token), sum_of(2 * pair + 1, r, token));
      }
    } else {
      for (int i = threadIdx.x; i < tile_rows_a_block * kTileRows * rows; i += blockDim.x) {
        const int r = i % kTileRows;
        const int local = i / kTileRows % tile_rows_a_block;
        const int token = i / kTileRows / tile_rows_a_block;
        const int n = (first + local) * kTileRows + r;
        if (n < m.rows) put(out, pass, token, n, sum_of(local, r, token));
      }
    }
    if (kOnce) break;
    __syncthreads();
  }
}

}  // namespace prosa::backend::cuda
