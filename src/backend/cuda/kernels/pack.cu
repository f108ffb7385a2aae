// Weights into the order in which the products read them, and back: packing, expanding to f16, rows of the embedding.
//
// A tile is 16 rows x 64 columns, [planes of the bit width]: 8 bits as they are, else 4, 2 and 1 bits (5 = 4 + 1,
// 6 = 4 + 2, 3 = 2 + 1). Lane 4r + c of a warp has the rows r and r + 8 and in each half of 32 columns the columns
// 8c..8c+7, as four words of four bytes: (r, 8c..), (r + 8, 8c..), (r, 8c+4..), (r + 8, 8c+4..).
#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/unpack.cuh"

namespace prosa::backend::cuda {
namespace {

/// Where weight (row, column) of a lane's word stands: word i (0..3) of `half`, byte b.
__device__ inline int word_row(int lane, int i) { return lane / 4 + 8 * (i % 2); }
__device__ inline int word_col(int lane, int half, int i, int b) {
  return 32 * half + 8 * (lane % 4) + 4 * (i / 2) + b;
}

/// Bits [at, at + bits) of a little-endian stream.
__device__ inline uint32_t stream_bits(const uint8_t* row, int64_t at, int bits) {
  uint32_t v = row[at / 8];
  if (at % 8 + bits > 8) v |= static_cast<uint32_t>(row[at / 8 + 1]) << 8;
  return (v >> (at % 8)) & ((1U << bits) - 1U);
}

/// A thread a lane of a tile.
__global__ void pack_kernel(const uint8_t* weight, int rows, DeviceMatrix m, uint8_t* planes, int first_tile,
                            int tile_step) {
  const int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int lane = static_cast<int>(index % 32);
  const int k = static_cast<int>(index / 32 % m.k_tiles);
  const int source_tile = static_cast<int>(index / 32 / m.k_tiles);
  if (source_tile * kTileRows >= (rows + kTileRows - 1) / kTileRows * kTileRows) return;
  const int64_t row_bytes = static_cast<int64_t>(m.cols) * m.bits / 8;
  uint32_t q[2][4];  // a byte each
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 4; ++i) {
      const int row = source_tile * kTileRows + word_row(lane, i);
      uint32_t word = 0;
      for (int b = 0; b < 4; ++b) {
        const int col = k * kTileCols + word_col(lane, half, i, b);
        if (row < rows && col < m.cols)
          word |= stream_bits(weight + row * row_bytes, static_cast<int64_t>(col) * m.bits, m.bits) << (8 * b);
      }
      q[half][i] = word;
    }
  }
  const int tile_row = first_tile + source_tile * tile_step;
  uint8_t* tile = planes + (static_cast<int64_t>(tile_row) * m.k_tiles + k) * (128 * m.bits);
  if (m.bits == 8) {
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) reinterpret_cast<uint32_t*>(tile + half * 512)[lane * 4 + i] = q[half][i];
    }
    return;
  }
  int shift = 0;
  if (m.bits >= 4) {
    for (int half = 0; half < 2; ++half) {
      for (int pair = 0; pair < 2; ++pair) {
        reinterpret_cast<uint32_t*>(tile)[lane * 4 + half * 2 + pair] =
            (q[half][2 * pair] & 0x0f0f0f0fU) | ((q[half][2 * pair + 1] & 0x0f0f0f0fU) << 4);
      }
    }
    shift = 4;
    tile += 512;
  }
  if (m.bits == 2 || m.bits == 3 || m.bits == 6) {
    for (int half = 0; half < 2; ++half) {
      uint32_t word = 0;
      for (int i = 0; i < 4; ++i) word |= ((q[half][i] >> shift) & 0x03030303U) << (2 * i);
      reinterpret_cast<uint32_t*>(tile)[lane * 2 + half] = word;
    }
    shift += 2;
    tile += 256;
  }
  if (m.bits == 3 || m.bits == 5) {
    uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) word |= ((q[half][i] >> shift) & 0x01010101U) << (4 * half + i);
    }
    reinterpret_cast<uint32_t*>(tile)[lane] = word;
  }
}

/// A thread a row and group.
__global__ void pack_scales_kernel(const uint16_t* scales, const uint16_t* biases, int rows, DeviceMatrix m,
                                   uint32_t* out, int first_tile, int tile_step) {
  const int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int groups = padded_groups(m);
  const int file_groups = m.cols / m.group;
  const int row = static_cast<int>(index / groups);
  const int g = static_cast<int>(index % groups);
  if (row >= (rows + kTileRows - 1) / kTileRows * kTileRows) return;
  uint32_t pair = 0;
  if (row < rows && g < file_groups) {
    const int64_t at = static_cast<int64_t>(row) * file_groups + g;
    pair = scales[at] | (static_cast<uint32_t>(biases[at]) << 16);
  }
  const int tile_row = first_tile + row / kTileRows * tile_step;
  const int r = row % kTileRows;
  out[((static_cast<int64_t>(tile_row) * groups + g) * 8 + r % 8) * 2 + r / 8] = pair;
}

enum class Source : int { bf16, f16, f32 };

__global__ void pack_dense_kernel(const void* data, Source source, int rows, DeviceMatrix m, void* out, int first_tile,
                                  int tile_step) {
  const int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int64_t width = static_cast<int64_t>(m.k_tiles) * kTileCols;
  const int64_t row = index / width;
  const int64_t col = index % width;
  if (row >= rows || col >= m.cols) return;
  const int64_t from = row * m.cols + col;
  const int64_t to = ((first_tile + row / kTileRows * tile_step) * kTileRows + row % kTileRows) * width + col;
  if (m.format == Format::bf16) {
    static_cast<uint16_t*>(out)[to] = static_cast<const uint16_t*>(data)[from];
    return;
  }
  float v = 0;
  if (source == Source::f32) v = static_cast<const float*>(data)[from];
  if (source == Source::f16) v = __half2float(static_cast<const __half*>(data)[from]);
  if (source == Source::bf16) v = __bfloat162float(static_cast<const __nv_bfloat16*>(data)[from]);
  static_cast<float*>(out)[to] = v;
}

__global__ void pack_exact_kernel(const uint8_t* weight, const float* scales, const float* biases, int bits, int group,
                                  int rows, DeviceMatrix m, float* out, int first_tile, int tile_step) {
  const int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int64_t row = index / m.cols;
  const int64_t col = index % m.cols;
  if (row >= rows) return;
  const int64_t row_bytes = static_cast<int64_t>(m.cols) * bits / 8;
  const auto q = static_cast<float>(stream_bits(weight + row * row_bytes, col * bits, bits));
  const int64_t g = row * (m.cols / group) + col / group;
  const int64_t width = static_cast<int64_t>(m.k_tiles) * kTileCols;
  const int64_t to = ((first_tile + row / kTileRows * tile_step) * kTileRows + row % kTileRows) * width + col;
  out[to] = scales[g] * q + biases[g];
}

/// A thread four neighbours.
__global__ void expand_kernel(DeviceMatrix m, uint2* out) {
  const int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int width = m.k_tiles * kTileCols;
  const int row = static_cast<int>(index * 4 / width);
  const int col = static_cast<int>(index * 4 % width);
  if (row >= m.rows) return;
  float v[4];
  for (int i = 0; i < 4; ++i) v[i] = col + i < m.cols ? weight_at(m, row, col + i) : 0.0F;
  out[tiled_at(row, col, m.k_tiles) / 4] = {pack_f16(v[0], v[1]), pack_f16(v[2], v[3])};
}

/// A block a row: the token's embedding, and the sines of its position for all layers.
__global__ void embed_kernel(EmbedArgs args, const PassArgs* pass) {
  wait_previous();
  signal_next();
  const int row = blockIdx.x;
  if (args.tokens == nullptr && row >= pass->rows) return;
  const int token = args.tokens != nullptr ? args.tokens[row] : pass->row[row].token;
  const int position = args.tokens != nullptr ? args.positions[row] : pass->row[row].position;
  for (int col = threadIdx.x; col < args.hidden; col += blockDim.x) {
    args.out[static_cast<int64_t>(row) * args.stride + col] = weight_at(args.table, args.row0 + token, col);
  }
  const int half = args.rotary_dim / 2;
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    const float2 turn = turn_of(position, args.frequency[i]);
    args.rotary[static_cast<int64_t>(row) * args.rotary_dim + i] = turn.x;
    args.rotary[static_cast<int64_t>(row) * args.rotary_dim + half + i] = turn.y;
  }
}

dim3 blocks_for(int64_t threads) { return dim3(static_cast<unsigned>((threads + 255) / 256)); }

}  // namespace

void launch_pack(cudaStream_t stream, const uint8_t* weight, const uint16_t* scales, const uint16_t* biases, int rows,
                 const DeviceMatrix& m, int first_row, int tile_step) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t groups = (m.k_tiles * kTileCols + m.group - 1) / m.group;
  pack_kernel<<<blocks_for(tiles * m.k_tiles * 32), 256, 0, stream>>>(weight, rows, m, const_cast<uint8_t*>(m.planes),
                                                                      first_row / kTileRows, tile_step);
  pack_scales_kernel<<<blocks_for(tiles * kTileRows * groups), 256, 0, stream>>>(
      scales, biases, rows, m, const_cast<uint32_t*>(m.scales), first_row / kTileRows, tile_step);
  check(cudaGetLastError(), "packing");
}

void launch_pack_dense(cudaStream_t stream, const void* data, int source_type, int rows, const DeviceMatrix& m,
                       int first_row, int tile_step) {
  pack_dense_kernel<<<blocks_for(static_cast<int64_t>(rows) * m.k_tiles * kTileCols), 256, 0, stream>>>(
      data, static_cast<Source>(source_type), rows, m, const_cast<void*>(m.dense), first_row / kTileRows, tile_step);
  check(cudaGetLastError(), "packing");
}

void launch_pack_exact(cudaStream_t stream, const uint8_t* weight, const float* scales, const float* biases, int bits,
                       int group, int rows, const DeviceMatrix& m, int first_row, int tile_step) {
  pack_exact_kernel<<<blocks_for(static_cast<int64_t>(rows) * m.cols), 256, 0, stream>>>(
      weight, scales, biases, bits, group, rows, m, static_cast<float*>(const_cast<void*>(m.dense)),
      first_row / kTileRows, tile_step);
  check(cudaGetLastError(), "packing");
}

void launch_expand(cudaStream_t stream, const DeviceMatrix& m, void* out) {
  expand_kernel<<<blocks_for(static_cast<int64_t>(m.rows) * m.k_tiles * kTileCols / 4), 256, 0, stream>>>(
      m, static_cast<uint2*>(out));
  check(cudaGetLastError(), "expanding");
}

void launch_embed(const Queue& queue, const EmbedArgs& args, const PassArgs* pass, int max_rows) {
  launch(queue, embed_kernel, dim3(max_rows), dim3(256), 0, args, pass);
}

}  // namespace prosa::backend::cuda
