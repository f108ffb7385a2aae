// Products of many rows: f16 inputs and weights on the matrix units (mma.sync), float32 sums.
//
// Every element sums its columns in steps of 16, in order, in one accumulator, whatever the tile: a row's bits do not
// depend on how many rows there are.
#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kK = 64;      // columns of a stage
constexpr int kStages = 3;
constexpr int kThreads = 256;  // eight warps: 2 x 4

/// Rows of 64 halves = 8 pieces of 16 bytes, turned by the row, so that eight rows of one column lie in eight banks.
__device__ inline int piece(int row, int col8) { return row * kK + (col8 ^ (row % 8)) * 8; }

template <int kRows>
__device__ inline void load_stage(__half* to, const __half* from, int k, int valid, int step) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * 8; i += kThreads) {
    const int row = i / 8;
    const bool inside = row < valid;
    copy_async(to + piece(row, i % 8), from + static_cast<int64_t>(inside ? row : 0) * k + step * kK + i % 8 * 8, inside);
  }
}

template <int kM, int kN>
__global__ __launch_bounds__(kThreads, kM == 128 ? 2 : 2) void gemm_kernel(
    const __half* x, const __half* w, int rows, int n_all, int k, GemmOutput mode, void* out, int stride,
    int limit, float factor) {
  constexpr int kWarpM = kM / 2;
  constexpr int kWarpN = kN / 4;
  constexpr int kTilesM = kWarpM / 16;
  constexpr int kTilesN = kWarpN / 8;
  constexpr int kStage = (kM + kN) * kK;
  extern __shared__ __align__(128) __half stages[];
  signal_next();
  wait_previous();
  const int m0 = static_cast<int>(blockIdx.x) * kM;
  const int n0 = static_cast<int>(blockIdx.y) * kN;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int wm = warp % 2 * kWarpM;
  const int wn = warp / 2 * kWarpN;
  const int steps = k / kK;
  const auto load = [&](int step) {
    if (step < steps) {
      __half* const stage = stages + step % kStages * kStage;
      load_stage<kM>(stage, x + static_cast<int64_t>(m0) * k, k, rows - m0, step);
      load_stage<kN>(stage + kM * kK, w + static_cast<int64_t>(n0) * k, k, n_all - n0, step);
    }
    copy_commit();
  };
  float sums[kTilesM][kTilesN][4] = {};
  for (int s = 0; s < kStages - 1; ++s) load(s);
  for (int step = 0; step < steps; ++step) {
    copy_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);
    const __half* const a_tile = stages + step % kStages * kStage;
    const __half* const b_tile = a_tile + kM * kK;
#pragma unroll
    for (int kk = 0; kk < kK / 16; ++kk) {
      uint32_t a[kTilesM][4];
      uint32_t b[kTilesN][2];
#pragma unroll
      for (int m = 0; m < kTilesM; ++m) {
        load_matrices(a[m], shared_address(a_tile + piece(wm + m * 16 + lane % 16, kk * 2 + lane / 16)));
      }
#pragma unroll
      for (int n = 0; n < kTilesN; n += 2) {
        uint32_t r[4];
        load_matrices(r, shared_address(b_tile + piece(wn + n * 8 + lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2)));
        b[n][0] = r[0], b[n][1] = r[1];
        b[n + 1][0] = r[2], b[n + 1][1] = r[3];
      }
#pragma unroll
      for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) mma_f16(sums[m][n], a[m], b[n][0], b[n][1]);
      }
    }
  }
  copy_wait<0>();
#pragma unroll
  for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = m0 + wm + m * 16 + lane / 4 + 8 * half;
      if (row >= rows) continue;
      if (mode == GemmOutput::silu_f16) {
        if constexpr (kTilesN >= 4) {
#pragma unroll
          for (int n = 0; n < kTilesN; n += 4) {  // tiles n, n + 1: gates; n + 2, n + 3: ups
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              const int col = (n0 + wn + n * 8) / 2 + j * 8 + lane % 4 * 2;
              if (col >= limit) continue;
              const float* g = sums[m][n + j] + 2 * half;
              const float* u = sums[m][n + 2 + j] + 2 * half;
              *reinterpret_cast<uint32_t*>(static_cast<__half*>(out) + static_cast<int64_t>(row) * stride + col) =
                  pack_f16(silu(g[0]) * u[0] * factor, silu(g[1]) * u[1] * factor);
            }
          }
        }
        continue;
      }
#pragma unroll
      for (int n = 0; n < kTilesN; ++n) {
        const int col = n0 + wn + n * 8 + lane % 4 * 2;
        if (col >= limit) continue;
        auto* const to = reinterpret_cast<float2*>(static_cast<float*>(out) + static_cast<int64_t>(row) * stride + col);
        float2 v{sums[m][n][2 * half] * factor, sums[m][n][2 * half + 1] * factor};
        if (mode == GemmOutput::add) {
          const float2 old = *to;
          v = {old.x + v.x, old.y + v.y};
        }
        *to = v;
      }
    }
  }
}

template <int kM, int kN>
void start(const Queue& queue, const void* x, const void* w, int rows, int n, int k, GemmOutput mode, void* out,
           int stride, int limit, float factor) {
  constexpr size_t kShared = static_cast<size_t>(kStages) * (kM + kN) * kK * sizeof(__half);
  allow_shared(gemm_kernel<kM, kN>, kShared);
  launch(queue, gemm_kernel<kM, kN>, dim3((rows + kM - 1) / kM, (n + kN - 1) / kN), dim3(kThreads), kShared,
         static_cast<const __half*>(x), static_cast<const __half*>(w), rows, n, k, mode, out, stride,
         limit, factor);
}

__global__ void silu_kernel(const float* gate, const float* up, int stride, int width, uint32_t* out, int out_stride,
                            float factor) {
  signal_next();
  wait_previous();
  const int64_t row = blockIdx.x;
  for (int c = static_cast<int>(threadIdx.x) * 2; c < out_stride; c += static_cast<int>(blockDim.x) * 2) {
    const float* g = gate + row * stride + c;
    const float* u = up + row * stride + c;
    const float a = c < width ? silu(g[0]) * u[0] : 0.0F;
    const float b = c + 1 < width ? silu(g[1]) * u[1] : 0.0F;
    out[(row * out_stride + c) / 2] = pack_f16(a * factor, b * factor);
  }
}

}  // namespace

void launch_gemm(const Queue& queue, const void* x, const void* w, int rows, int n, int k, GemmOutput mode, void* out,
                 int stride, int limit, float factor) {
  const auto blocks = [&](int tile_m, int tile_n) {
    return (rows + tile_m - 1) / tile_m * ((n + tile_n - 1) / tile_n);
  };
  const int enough = queue.processors * 9 / 10;
  if (rows > 64 && blocks(128, 128) >= enough)
    return start<128, 128>(queue, x, w, rows, n, k, mode, out, stride, limit, factor);
  if (rows > 32 && blocks(64, 128) >= enough) return start<64, 128>(queue, x, w, rows, n, k, mode, out, stride, limit, factor);
  if (mode != GemmOutput::silu_f16 && rows > 32) {
    return start<64, 64>(queue, x, w, rows, n, k, mode, out, stride, limit, factor);
  }
  if (mode != GemmOutput::silu_f16) return start<32, 64>(queue, x, w, rows, n, k, mode, out, stride, limit, factor);
  start<32, 128>(queue, x, w, rows, n, k, mode, out, stride, limit, factor);
}

void launch_silu_f16(const Queue& queue, const float* gate, const float* up, int stride, int rows, int width,
                      void* out, int out_stride, float factor) {
  launch(queue, silu_kernel, dim3(rows), dim3(256), 0, gate, up, stride, width, static_cast<uint32_t*>(out), out_stride, factor);
}

}  // namespace prosa::backend::cuda
