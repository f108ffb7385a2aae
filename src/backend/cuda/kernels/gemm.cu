// Products of many rows: f16 inputs and weights in tiles of 64 x 64, float32 sums. On Hopper by the matrix instructions
// of four warps, tiles brought by bulk copies a stage ahead; elsewhere by mma.sync.
//
// Every element sums its columns in steps of 16, in order, in one accumulator, whatever the tile: a row's bits do not
// depend on how many rows there are.
#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kTile = 64;  // rows and columns
constexpr int kTileBytes = kTile * kTile * 2;

struct GemmArgs {
  const __half* x = nullptr;  // tiled [rows][k]
  const __half* w = nullptr;  // tiled [n][k]
  int rows = 0;
  int n = 0;
  int k_tiles = 0;
  GemmOutput mode = GemmOutput::store;
  void* out = nullptr;
  int stride = 0;
  int limit = 0;
  float factor = 1;
};

/// A row of a warp's sums, eight columns a part, from column `first` on; half: this row's pair of each part.
template <int kParts>
__device__ inline void put_row(const GemmArgs& args, const float (&sums)[kParts][4], int row, int half, int first,
                               int lane) {
  if (row >= args.rows) return;
  if (args.mode == GemmOutput::silu_f16) {
    if constexpr (kParts >= 4) {
      const int tiles = args.stride / kTile;
#pragma unroll
      for (int n = 0; n < kParts; n += 4) {  // parts n, n + 1: gates; n + 2, n + 3: ups
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int col = (first + n * 8) / 2 + j * 8 + lane % 4 * 2;
          if (col >= args.limit) continue;
          const float* g = sums[n + j] + 2 * half;
          const float* u = sums[n + 2 + j] + 2 * half;
          *reinterpret_cast<uint32_t*>(static_cast<__half*>(args.out) + tiled_at(row, col, tiles)) =
              pack_f16(silu(g[0]) * u[0] * args.factor, silu(g[1]) * u[1] * args.factor);
        }
      }
    }
    return;
  }
  float* const out = static_cast<float*>(args.out) + static_cast<int64_t>(row) * args.stride;
#pragma unroll
  for (int n = 0; n < kParts; ++n) {
    const int col = first + n * 8 + lane % 4 * 2;
    if (col >= args.limit) continue;
    auto* const to = reinterpret_cast<float2*>(out + col);
    float2 v{sums[n][2 * half] * args.factor, sums[n][2 * half + 1] * args.factor};
    if (args.mode == GemmOutput::add) {
      const float2 old = *to;
      v = {old.x + v.x, old.y + v.y};
    }
    *to = v;
  }
}

// ---- mma.sync

constexpr int kStages = 3;
constexpr int kThreads = 256;  // eight warps: 2 x 4

/// Rows [first, first + kRows) of one column of tiles; what is behind `rows` is the last tile again, and nobody's.
template <int kRows>
__device__ inline void load_rows(__half* to, const __half* from, int first, int rows, int k_tiles, int k) {
  constexpr int kPieces = (kRows < kTile ? kRows : kTile) * kTile / 8;  // of 16 bytes, in one tile
  const int last = (rows - 1) / kTile;
#pragma unroll
  for (int part = 0; part < (kRows + kTile - 1) / kTile; ++part) {
    const int tile = min(first / kTile + part, last);
    const __half* const source =
        from + (static_cast<int64_t>(tile) * k_tiles + k) * (kTile * kTile) + first % kTile * kTile;
#pragma unroll
    for (int i = 0; i < kPieces / kThreads; ++i) {
      const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * 8;
      copy_async(to + part * kTile * kTile + at, source + at, true);
    }
  }
}

template <int kM, int kN>
__global__ __launch_bounds__(kThreads, 1) void gemm_kernel(GemmArgs args) {
  constexpr int kWarpM = kM / 2;
  constexpr int kWarpN = kN / 4;
  constexpr int kTilesM = kWarpM / 16;
  constexpr int kTilesN = kWarpN / 8;
  constexpr int kStage = (kM + kN) * kTile;
  extern __shared__ __align__(1024) __half stages[];
  wait_previous();
  signal_next();
  const int m0 = static_cast<int>(blockIdx.x) * kM;
  const int n0 = static_cast<int>(blockIdx.y) * kN;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int wm = warp % 2 * kWarpM;
  const int wn = warp / 2 * kWarpN;
  const auto load = [&](int step) {
    if (step < args.k_tiles) {
      __half* const stage = stages + step % kStages * kStage;
      load_rows<kM>(stage, args.x, m0, args.rows, args.k_tiles, step);
      load_rows<kN>(stage + kM * kTile, args.w, n0, args.n, args.k_tiles, step);
    }
    copy_commit();
  };
  // A row's piece of eight columns is at its number turned by the row; rows of a lane differ by multiples of eight.
  const int a_row = wm + lane % 16;
  const int b_row = wn + lane % 8 + lane / 16 * 8;
  float sums[kTilesM][kTilesN][4] = {};
  for (int s = 0; s < kStages - 1; ++s) load(s);
  for (int step = 0; step < args.k_tiles; ++step) {
    copy_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);
    const uint32_t a_tile = shared_address(stages + step % kStages * kStage) + a_row * 128;
    const uint32_t b_tile = shared_address(stages + step % kStages * kStage + kM * kTile) + b_row * 128;
#pragma unroll
    for (int kk = 0; kk < kTile / 16; ++kk) {
      const uint32_t a_piece = ((kk * 2 + lane / 16) ^ (a_row % 8)) * 16;
      const uint32_t b_piece = ((kk * 2 + lane / 8 % 2) ^ (b_row % 8)) * 16;
      uint32_t b[kTilesN][2];
#pragma unroll
      for (int n = 0; n < kTilesN; n += 2) {
        uint32_t r[4];
        load_matrices(r, b_tile + n * 8 * 128 + b_piece);
        b[n][0] = r[0], b[n][1] = r[1];
        b[n + 1][0] = r[2], b[n + 1][1] = r[3];
      }
#pragma unroll
      for (int m = 0; m < kTilesM; ++m) {
        uint32_t a[4];
        load_matrices(a, a_tile + m * 16 * 128 + a_piece);
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) mma_f16(sums[m][n], a, b[n][0], b[n][1]);
      }
    }
  }
  copy_wait<0>();
#pragma unroll
  for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      put_row(args, sums[m], m0 + wm + m * 16 + lane / 4 + 8 * half, half, n0 + wn, lane);
  }
}

template <int kM, int kN>
void start(const Queue& queue, const GemmArgs& args) {
  constexpr size_t kShared = static_cast<size_t>(kStages) * (kM + kN) * kTile * sizeof(__half);
  allow_shared(gemm_kernel<kM, kN>, kShared);
  launch(queue, gemm_kernel<kM, kN>, dim3((args.rows + kM - 1) / kM, (args.n + kN - 1) / kN), dim3(kThreads), kShared,
         args);
}

// ---- Hopper

/// kM / 64 groups of four warps multiply 64 rows each; one more group brings the tiles.
template <int kM, int kN, int kDepth>
__global__ __launch_bounds__(kM * 2 + 128, 1) void hopper_kernel(const __grid_constant__ GemmArgs args) {
#ifdef PROSA_WGMMA
  constexpr int kGroups = kM / 64;
  constexpr int kStage = (kM + kN) * kTile * 2;  // bytes
  extern __shared__ __align__(1024) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[2 * kDepth];
  const uint32_t base = (shared_address(shared) + 1023U) & ~1023U;
  const uint32_t full = shared_address(barriers);
  const uint32_t empty = full + kDepth * 8;
  const int group = static_cast<int>(threadIdx.x) / 128;
  const int m0 = static_cast<int>(blockIdx.x) * kM;
  const int n0 = static_cast<int>(blockIdx.y) * kN;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kDepth; ++i) {
      barrier_init(full + i * 8, 1);
      barrier_init(empty + i * 8, kGroups * 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  wait_previous();
  signal_next();
  if (group == kGroups) {
    if (threadIdx.x % 128 != 0) return;
    const int last_x = (args.rows - 1) / kTile;
    const int last_w = (args.n - 1) / kTile;
    for (int step = 0; step < args.k_tiles; ++step) {
      const int slot = step % kDepth;
      if (step >= kDepth) barrier_wait(empty + slot * 8, (step / kDepth + 1) % 2);
      barrier_expect(full + slot * 8, kStage);
      const uint32_t to = base + slot * kStage;
#pragma unroll
      for (int i = 0; i < kM / kTile; ++i) {
        bulk_copy(to + i * kTileBytes,
                  args.x + (static_cast<int64_t>(min(m0 / kTile + i, last_x)) * args.k_tiles + step) * (kTile * kTile),
                  kTileBytes, full + slot * 8);
      }
#pragma unroll
      for (int i = 0; i < kN / kTile; ++i) {
        bulk_copy(to + kM * kTile * 2 + i * kTileBytes,
                  args.w + (static_cast<int64_t>(min(n0 / kTile + i, last_w)) * args.k_tiles + step) * (kTile * kTile),
                  kTileBytes, full + slot * 8);
      }
    }
    return;
  }
  float sums[kN / 8][4];
  for (int step = 0; step < args.k_tiles; ++step) {
    const int slot = step % kDepth;
    barrier_wait(full + slot * 8, step / kDepth % 2);
    const uint64_t a = tile_descriptor(base + slot * kStage + group * kTileBytes);
    const uint64_t b = tile_descriptor(base + slot * kStage + kM * kTile * 2);
    wgmma_begin();
#pragma unroll
    for (int kk = 0; kk < kTile / 16; ++kk) wgmma<kN>(sums, a + kk * 2, b + kk * 2, step + kk > 0 ? 1 : 0);
    wgmma_commit();
    wgmma_wait<1>();  // the stage before is done with
    if (step > 0 && threadIdx.x % 32 == 0) barrier_arrive(empty + (step - 1) % kDepth * 8);
  }
  wgmma_wait<0>();
  const int warp = static_cast<int>(threadIdx.x) % 128 / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half)
    put_row(args, sums, m0 + group * 64 + warp * 16 + lane / 4 + 8 * half, half, n0, lane);
#endif
}

template <int kM, int kN, int kDepth>
void start_hopper(const Queue& queue, const GemmArgs& args) {
  constexpr size_t kShared = static_cast<size_t>(kDepth) * (kM + kN) * kTile * 2 + 1024;
  allow_shared(hopper_kernel<kM, kN, kDepth>, kShared);
  launch(queue, hopper_kernel<kM, kN, kDepth>, dim3((args.rows + kM - 1) / kM, (args.n + kN - 1) / kN),
         dim3(kM * 2 + 128), kShared, args);
}

__global__ void silu_kernel(const float* gate, const float* up, int stride, int width, __half* out, int out_stride,
                            float factor) {
  wait_previous();
  signal_next();
  const int64_t row = blockIdx.x;
  for (int c = static_cast<int>(threadIdx.x) * 2; c < out_stride; c += static_cast<int>(blockDim.x) * 2) {
    const float* g = gate + row * stride + c;
    const float* u = up + row * stride + c;
    const float a = c < width ? silu(g[0]) * u[0] : 0.0F;
    const float b = c + 1 < width ? silu(g[1]) * u[1] : 0.0F;
    *reinterpret_cast<uint32_t*>(out + tiled_at(row, c, out_stride / kTile)) = pack_f16(a * factor, b * factor);
  }
}

}  // namespace

bool hopper_built() {
#ifdef PROSA_CUDA_SM90A
  return true;
#else
  return false;
#endif
}

void launch_gemm(const Queue& queue, const void* x, const void* w, int rows, int n, int k, GemmOutput mode, void* out,
                 int stride, int limit, float factor) {
  const GemmArgs args{static_cast<const __half*>(x),
                      static_cast<const __half*>(w),
                      rows,
                      n,
                      k / kTile,
                      mode,
                      out,
                      stride,
                      limit,
                      factor};
  const auto blocks = [&](int tile_m, int tile_n) {
    return (rows + tile_m - 1) / tile_m * ((n + tile_n - 1) / tile_n);
  };
  const int enough = queue.processors * 8 / 10;
  if (queue.hopper) {
    if (blocks(128, 256) >= enough) return start_hopper<128, 256, 4>(queue, args);
    if (blocks(128, 128) >= enough) return start_hopper<128, 128, 6>(queue, args);
    if (blocks(64, 128) >= enough) return start_hopper<64, 128, 8>(queue, args);
    return start_hopper<64, 64, 12>(queue, args);
  }
  if (rows > 64 && blocks(128, 128) >= enough) return start<128, 128>(queue, args);
  if (rows > 32 && blocks(64, 128) >= enough) return start<64, 128>(queue, args);
  if (mode == GemmOutput::silu_f16) return start<32, 128>(queue, args);
  if (rows > 32) return start<64, 64>(queue, args);
  start<32, 64>(queue, args);
}

void launch_silu_f16(const Queue& queue, const float* gate, const float* up, int stride, int rows, int width, void* out,
                     int out_stride, float factor) {
  launch(queue, silu_kernel, dim3(rows), dim3(256), 0, gate, up, stride, width, static_cast<__half*>(out), out_stride,
         factor);
}

}  // namespace prosa::backend::cuda
