// One weight of a packed matrix, wherever it stands, and the turn of a position: what the first stage of a pass needs.
// Slow; for single rows of an embedding and for expanding. The order of a tile: pack.cu.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

__device__ inline int padded_groups(const DeviceMatrix& m) { return (m.k_tiles * kTileCols + m.group - 1) / m.group; }

/// scale * q + bias of one weight.
__device__ inline float unpack_weight(const DeviceMatrix& m, int row, int col) {
  const int tile_row = row / kTileRows;
  const int r = row % kTileRows;
  const int k = col / kTileCols;
  const int half = col % 64 / 32;
  const int in_half = col % 32;
  const int lane = (r % 8) * 4 + in_half / 8;
  const int i = (in_half % 8) / 4 * 2 + r / 8;
  const int byte = 8 * (in_half % 4);
  const uint8_t* tile = m.planes + (static_cast<int64_t>(tile_row) * m.k_tiles + k) * (128 * m.bits);
  uint32_t q = 0;
  int shift = 0;
  if (m.bits == 8) q = reinterpret_cast<const uint32_t*>(tile + half * 512)[lane * 4 + i] >> byte & 0xffU;
  if (m.bits >= 4 && m.bits < 8) {
    q = reinterpret_cast<const uint32_t*>(tile)[lane * 4 + half * 2 + i / 2] >> (byte + 4 * (i % 2)) & 0xfU;
    shift = 4;
    tile += 512;
  }
  if (m.bits == 2 || m.bits == 3 || m.bits == 6) {
    q |= (reinterpret_cast<const uint32_t*>(tile)[lane * 2 + half] >> (byte + 2 * i) & 3U) << shift;
    shift += 2;
    tile += 256;
  }
  if (m.bits == 3 || m.bits == 5) {
    q |= (reinterpret_cast<const uint32_t*>(tile)[lane] >> (byte + 4 * half + i) & 1U) << shift;
  }
  const int64_t g = (static_cast<int64_t>(tile_row) * padded_groups(m) + col / m.group) * 16 + r % 8 * 2 + r / 8;
  const float2 scale = unpack_scale(m.scales[g], m.scale_type);
  return scale.x * static_cast<float>(q) + scale.y;
}

__device__ inline float weight_at(const DeviceMatrix& m, int row, int col) {
  const int64_t at = static_cast<int64_t>(row) * m.k_tiles * kTileCols + col;
  if (m.format == Format::bf16) return __bfloat162float(static_cast<const __nv_bfloat16*>(m.dense)[at]);
  if (m.format == Format::f32) return static_cast<const float*>(m.dense)[at];
  return unpack_weight(m, row, col);
}

/// Cosine and sine of a pair of rotary dims at a position.
__device__ inline float2 turn_of(int position, double frequency) {
  double sine = 0;
  double cosine = 0;
  sincos(static_cast<double>(position) * frequency, &sine, &cosine);
  return {static_cast<float>(cosine), static_cast<float>(sine)};
}

}  // namespace prosa::backend::cuda
