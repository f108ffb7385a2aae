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

  /// From global memory, where a tile is read once.
  __device__ void load(const uint8_t* tile, int lane) {
    fill(tile, lane, [](const auto* p) { return load_stream(p); });
  }
  /// From shared memory.
  __device__ void read(const uint8_t* tile, int lane) {
    fill(tile, lane, [](const auto* p) { return *p; });
  }

  template <typename Load>
  __device__ void fill(const uint8_t* tile, int lane, const Load& one) {
    int at = 0;
    if constexpr (kBits == 8) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint4 v = one(reinterpret_cast<const uint4*>(tile + half * 512) + lane);
        word[4 * half] = v.x, word[4 * half + 1] = v.y, word[4 * half + 2] = v.z, word[4 * half + 3] = v.w;
      }
      return;
    }
    if constexpr (kBits >= 4) {
      const uint4 v = one(reinterpret_cast<const uint4*>(tile) + lane);
      word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
      at = 4;
      tile += 512;
    }
    if constexpr (kBits == 2 || kBits == 3 || kBits == 6) {
      const uint2 v = one(reinterpret_cast<const uint2*>(tile) + lane);
      word[at] = v.x, word[at + 1] = v.y;
      at += 2;
      tile += 256;
    }
    if constexpr (kBits == 3 || kBits == 5) word[at] = one(reinterpret_cast<const uint32_t*>(tile) + lane);
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

template <bool kHalfScales>
__device__ inline float2 scale_and_bias(uint32_t pair) {
  if (kHalfScales) return __half22float2(*reinterpret_cast<const __half2*>(&pair));
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U)};
}

/// w0, w1: scale and bias of the two rows; x: scale of the inputs and their sum.
__device__ inline void add_group(float (&sum)[2], const int (&d)[4], float2 w0, float2 w1, float2 x) {
  const float y0 = static_cast<float>(d[0] * 128 + d[1]) * x.x;
  const float y1 = static_cast<float>(d[2] * 128 + d[3]) * x.x;
  sum[0] = __fmaf_rn(w0.y, x.y, __fmaf_rn(w0.x, y0, sum[0]));
  sum[1] = __fmaf_rn(w1.y, x.y, __fmaf_rn(w1.x, y1, sum[1]));
}

template <bool kHalfScales>
__device__ inline void add_group(float (&sum)[2], const int (&d)[4], uint2 pairs, float2 x) {
  add_group(sum, d, scale_and_bias<kHalfScales>(pairs.x), scale_and_bias<kHalfScales>(pairs.y), x);
}

__device__ inline void add_group(float (&sum)[2], const int (&d)[4], uint2 pairs, ScaleType type, float2 x) {
  if (type == ScaleType::bf16) {
    add_group<false>(sum, d, pairs, x);
  } else {
    add_group<true>(sum, d, pairs, x);
  }
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
inline constexpr int kMaxFusedSegments = 64;  // of 128 columns: an input of a stream that makes its own

/// Planes of a row in shared memory, apart so that two of them meet other banks. k_tiles must be even.
__host__ __device__ inline int few_plane_bytes(int k_tiles) { return k_tiles * kTileCols + 64; }
/// For kRows rows; scales behind the planes. Columns of the matrix instruction that have no row read what is there.
template <bool kGroup32>
__host__ __device__ inline int few_shared_bytes(int k_tiles, int warps, int rows) {
  const int planes = kFewRows * 2 * few_plane_bytes(k_tiles);
  const int scales = kFewRows * k_tiles * (kGroup32 ? 2 : 1) * static_cast<int>(sizeof(float2));
  return planes + scales + warps * kTileRows * (rows + 1) * static_cast<int>(sizeof(float));
}

/// A block is some tile rows x `slices` warps, whole slices of four tiles. A warp has its weights in registers before
/// it waits for the kernel that makes its inputs. kRows: 1, or up to four.
template <int kBits, bool kGroup32, bool kHalfScales, Input kIn, Output kOut, int kRows>
__global__ __launch_bounds__(512) void gemv_few_kernel(DeviceMatrix m, InputArgs in, OutputArgs out,
                                                       const PassArgs* pass) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float squares[kFewRows][32];  // of a segment
  constexpr int kGroupsATile = kGroup32 ? 2 : 1;
  const int lane = static_cast<int>(threadIdx.x);  // a block is 32 x slices x tile rows
  const int slice = static_cast<int>(threadIdx.y);
  const int warp = static_cast<int>(threadIdx.z) * m.slices + slice;
  const int warps = static_cast<int>(blockDim.z) * m.slices;
  const int tile_row = static_cast<int>(blockIdx.x * blockDim.z + threadIdx.z);
  const int k_begin = slice * kBatchTiles;
  Batch<kBits, kGroup32> batch;
  batch.load(m, min(tile_row, m.rows / kTileRows - 1), k_begin, k_begin + kBatchTiles, lane);
  const int segments = m.k_tiles / 2;
  const float4 weight = input_weight<kIn>(in, min(warp, segments - 1), lane);  // of the first segment
  const int rows = kRows == 1 ? 1 : pass->rows;  // written before the first kernel of the pass was launched
  const int plane_bytes = few_plane_bytes(m.k_tiles);
  const int groups = m.k_tiles * kGroupsATile;
  uint8_t* const planes = shared;
  auto* const scales = reinterpret_cast<float2*>(shared + kFewRows * 2 * plane_bytes);
  auto* const partial = reinterpret_cast<float*>(scales + kFewRows * groups);  // [warps][16][kRows + 1]
  constexpr int kPitch = kRows + 1;
  const int joined = static_cast<int>(blockDim.z) * kTileRows;  // matrix rows of the block
  const int thread = warp * 32 + lane;
  const int n = static_cast<int>(blockIdx.x) * joined + thread;  // the one that this thread joins
  wait_previous();
  signal_next();

  float old[kRows];
  if (kOut == Output::add && thread < joined && n < out.limit) {
#pragma unroll
    for (int t = 0; t < kRows; ++t) {
      if (t < rows) old[t] = out.out[static_cast<int64_t>(t) * out.stride + n];
    }
  }
  for (int t = 0; t < rows; ++t) {
    for (int s = warp; s < segments; s += warps) {
      const float4 w = s == warp ? weight : input_weight<kIn>(in, s, lane);
      float late = 1;
      const float4 v = input_four<kIn>(in, t, s, lane, w, late);
      if (kIn == Input::norm) {
        const float4 x = load_four(in.x + static_cast<int64_t>(t) * in.x_stride, s * kSegment + lane * 4, in.width);
        const float square = sum_lanes(add_squares(x, 0));
        if (lane == 0) squares[t][s] = square;
      }
      uint8_t* const high = planes + t * 2 * plane_bytes + s * kSegment;
      quantize_segment<kGroup32>(v, late, lane, high, high + plane_bytes, scales + t * groups + s * 2 * kGroupsATile);
    }
  }
  __syncthreads();
  float sum[2] = {0, 0};
  const uint8_t* const mine = planes + lane / 4 * plane_bytes + k_begin * kTileCols + lane % 4 * 16;
  const float2* const by_group = scales + lane % 4 * groups + k_begin * kGroupsATile;
#pragma unroll
  for (int i = 0; i < kBatchTiles; ++i) {
    uint32_t a[2][4];
    batch.tile[i].unpack(0, a[0]);
    batch.tile[i].unpack(1, a[1]);
    const uint4 b = *reinterpret_cast<const uint4*>(mine + i * kTileCols);
    int d[4] = {0, 0, 0, 0};
    mma_u8s8(d, a[0], b.x, b.y);
    if constexpr (kGroup32) {
      add_group<kHalfScales>(sum, d, batch.scale[i][0], by_group[2 * i]);
      d[0] = d[1] = d[2] = d[3] = 0;
    }
    mma_u8s8(d, a[1], b.z, b.w);
    add_group<kHalfScales>(sum, d, batch.scale[i][kGroup32 ? 1 : 0], by_group[kGroup32 ? 2 * i + 1 : i]);
  }
  if (lane % 4 < kRows) {
    partial[(warp * kTileRows + lane / 4) * kPitch + lane % 4] = sum[0];
    partial[(warp * kTileRows + lane / 4 + 8) * kPitch + lane % 4] = sum[1];
  }
  __syncthreads();
  if (thread >= joined) return;
  const int local = thread / kTileRows;
  const float* const first = partial + (local * m.slices * kTileRows + thread % kTileRows) * kPitch;
  const auto sum_of = [&](const float* from, int token) {
    float y = 0;
#pragma unroll
    for (int s = 0; s < 16; ++s) {
      if (s < m.slices) y += from[s * kTileRows * kPitch + token];
    }
    return kIn == Input::norm ? y * scale_of(squares[token], segments, in) : y;
  };
  if (kOut == Output::silu) {
    if (local % 2 != 0) return;
    const int column = n / (2 * kTileRows) * kTileRows + n % kTileRows;
#pragma unroll
    for (int t = 0; t < kRows; ++t) {
      if (t < rows) put_pair(out, t, column, sum_of(first, t), sum_of(first + m.slices * kTileRows * kPitch, t));
    }
  } else if (n < out.limit && n < m.rows) {
#pragma unroll
    for (int t = 0; t < kRows; ++t) {
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
  const float* factors;   // [row] of all sums, or null: 1
  int plane_stride;
  int groups;
};

/// Five to 64 rows: a block is some tile rows x `slices` warps as for few rows; inputs come from global memory. kTiles:
/// columns of 8, four rows each.
template <int kBits, bool kGroup32, int kTiles>
__global__ __launch_bounds__(512, 1) void gemv_many_kernel(DeviceMatrix m, ActView act, OutputArgs out,
                                                           const PassArgs* pass) {
  extern __shared__ __align__(16) uint8_t shared[];
  constexpr int kPitch = 4 * kTiles + 1;
  const int lane = static_cast<int>(threadIdx.x);
  const int slice = static_cast<int>(threadIdx.y);
  const int warp = static_cast<int>(threadIdx.z) * m.slices + slice;
  const int tile_row = static_cast<int>(blockIdx.x * blockDim.z + threadIdx.z);
  const int k_begin = slice * m.per_slice;
  const int k_end = min(k_begin + m.per_slice, m.k_tiles);
  const int at = min(tile_row, m.rows / kTileRows - 1);
  Batch<kBits, kGroup32> batch;
  batch.load(m, at, k_begin, k_end, lane);
  const int rows = pass->rows;
  wait_previous();
  signal_next();
  const uint8_t* const planes =
      act.planes + static_cast<int64_t>(lane / 8 * 2 + lane / 4 % 2) * act.plane_stride + lane % 4 * 16;
  const float2* const scales = act.scales + lane % 4 * act.groups;
  Sums<kTiles> sums;
  for (int k = k_begin; k < k_end; k += kBatchTiles) {
#pragma unroll
    for (int i = 0; i < kBatchTiles; ++i) {
      if (k + i >= k_end) break;
      uint32_t a[2][4];
      batch.tile[i].unpack(0, a[0]);
      batch.tile[i].unpack(1, a[1]);
      const uint8_t* const from = planes + (k + i) * 64;
      const float2* const by_group = scales + (kGroup32 ? 2 : 1) * (k + i);
      constexpr int kStep = kTiles < 4 ? kTiles : 4;  // columns of 8 whose inputs are asked for together
#pragma unroll
      for (int t0 = 0; t0 < kTiles; t0 += kStep) {
        if (4 * t0 >= rows) break;
        uint4 b[kStep];
        float2 x[kStep][kGroup32 ? 2 : 1];
#pragma unroll
        for (int j = 0; j < kStep; ++j) {  // buffers have 64 rows: what is behind the last one is read, and nobody's
          b[j] = *reinterpret_cast<const uint4*>(from + static_cast<int64_t>(t0 + j) * 8 * act.plane_stride);
          x[j][0] = by_group[(t0 + j) * 4 * act.groups];
          if (kGroup32) x[j][kGroup32 ? 1 : 0] = by_group[(t0 + j) * 4 * act.groups + 1];
        }
#pragma unroll
        for (int j = 0; j < kStep; ++j) {
          int d[4] = {0, 0, 0, 0};
          mma_u8s8(d, a[0], b[j].x, b[j].y);
          if constexpr (kGroup32) {
            add_group(sums.at[t0 + j], d, batch.scale[i][0], m.scale_type, x[j][0]);
            d[0] = d[1] = d[2] = d[3] = 0;
          }
          mma_u8s8(d, a[1], b[j].z, b[j].w);
          add_group(sums.at[t0 + j], d, batch.scale[i][kGroup32 ? 1 : 0], m.scale_type, x[j][kGroup32 ? 1 : 0]);
        }
      }
    }
    if (k + kBatchTiles < k_end) batch.load(m, at, k + kBatchTiles, k_end, lane);
  }
  float* const partial = reinterpret_cast<float*>(shared);  // [warps][16][kPitch]
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    partial[(warp * kTileRows + lane / 4) * kPitch + 4 * t + lane % 4] = sums.at[t][0];
    partial[(warp * kTileRows + lane / 4 + 8) * kPitch + 4 * t + lane % 4] = sums.at[t][1];
  }
  __syncthreads();
  const int local_rows = static_cast<int>(blockDim.z) * kTileRows;
  const int threads = 32 * m.slices * static_cast<int>(blockDim.z);
  for (int i = warp * 32 + lane; i < local_rows * rows; i += threads) {
    const int token = i / local_rows;
    const int r = i % local_rows;
    const int n = static_cast<int>(blockIdx.x) * local_rows + r;
    const float* const first = partial + (r / kTileRows * m.slices * kTileRows + r % kTileRows) * kPitch + token;
    const float factor = act.factors != nullptr ? act.factors[token] : 1.0F;
    const auto sum_of = [&](const float* from) {
      float y = 0;
      for (int s = 0; s < m.slices; ++s) y += from[s * kTileRows * kPitch];
      return y * factor;
    };
    if (out.mode == Output::silu) {
      if (r / kTileRows % 2 != 0) continue;
      put_pair(out, token, n / (2 * kTileRows) * kTileRows + n % kTileRows, sum_of(first),
               sum_of(first + m.slices * kTileRows * kPitch));
    } else if (n < m.rows) {
      put(out, pass, token, n, sum_of(first));
    }
  }
}

/// A warp sums all slices of a tile row itself, one after the other, and goes on to the next tile row. kTiles: columns
/// of 8, four rows each. kFused: the block makes its inputs (Input::norm, up to four rows) in shared memory.
template <int kBits, bool kGroup32, int kTiles, bool kFused>
__global__ __launch_bounds__(256, kTiles == 1 ? 2 : 1) void gemv_stream_kernel(DeviceMatrix m, InputArgs in,
                                                                               ActView act, OutputArgs out,
                                                                               const PassArgs* pass) {
  extern __shared__ __align__(16) uint8_t shared[];
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
  signal_next();
  float factor[kTiles];  // of token 4 t + lane % 4
  if constexpr (kFused) {
    __shared__ float squares[kFewRows][kMaxFusedSegments];
    uint8_t* const planes = shared;
    float2* const scales = reinterpret_cast<float2*>(shared + 4 * 2 * act.plane_stride);
    const int segments = (m.k_tiles + 1) / 2;
    for (int row = 0; row < rows; ++row) {
      for (int s = warp; s < segments; s += warps) {
        float late = 1;
        const float4 v = input_four<Input::norm>(in, row, s, lane, input_weight<Input::norm>(in, s, lane), late);
        const float4 x = load_four(in.x + static_cast<int64_t>(row) * in.x_stride, s * kSegment + lane * 4, in.width);
        const float square = sum_lanes(add_squares(x, 0));
        if (lane == 0) squares[row][s] = square;
        uint8_t* const to = planes + row * 2 * act.plane_stride + s * kSegment;
        quantize_segment<kGroup32>(v, late, lane, to, to + act.plane_stride,
                                   scales + row * act.groups + s * (kGroup32 ? 4 : 2));
      }
    }
    __syncthreads();
    act.planes = planes;
    act.scales = scales;
    factor[0] = lane % 4 < rows ? scale_of(squares[lane % 4], segments, in) : 0.0F;
  } else {
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      factor[t] = act.factors != nullptr && 4 * t + lane % 4 < rows ? act.factors[4 * t + lane % 4] : 1.0F;
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
            put_pair(out, token, n, gates.at[t][i] * factor[t], total.at[t][i] * factor[t]);
          } else {
            put(out, pass, token, n, total.at[t][i] * factor[t]);
          }
        }
      }
    }
  }
}

}  // namespace prosa::backend::cuda
