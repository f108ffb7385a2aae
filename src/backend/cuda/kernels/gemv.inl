// Instances of gemv.cuh for one bit width: included by gemv_N.cu with kInstanceBits defined.
#include "backend/cuda/kernels/gemv.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

int tile_rows_a_block(const DeviceMatrix& m, Output mode) {
  int rows = m.slices >= 8 ? 1 : 8 / m.slices;
  if (mode == Output::silu && rows % 2 != 0) ++rows;
  return rows;
}

template <int kBits, bool kGroup32, int kTiles, bool kFused, bool kOnce>
void start(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, ActView act, const OutputArgs& out,
           const PassArgs* pass) {
  auto* const kernel = gemv_kernel<kBits, kGroup32, kTiles, kFused, kOnce>;
  const int per_block = tile_rows_a_block(m, out.mode);
  const int warps = per_block * m.slices;
  constexpr int kTokens = 4 * kTiles;
  size_t shared = static_cast<size_t>(warps) * kTileRows * (kTokens + 1) * sizeof(float);
  if (kFused) {
    act.plane_stride = (m.k_tiles | 1) * 64;
    shared += static_cast<size_t>(kTokens) * (act.groups * sizeof(float2) + ((m.k_tiles + 1) / 2 + 3) * sizeof(float) +
                                              2 * static_cast<size_t>(act.plane_stride));
  }
  allow_shared(kernel, shared);
  int blocks = (m.rows / kTileRows + per_block - 1) / per_block;
  if (!kOnce) blocks = min(blocks, queue.processors * 2);
  launch(queue, kernel, dim3(blocks), dim3(warps * 32), shared, m, in, act, out, pass, per_block);
}

template <int kBits, bool kGroup32>
void choose(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const ActView& act, const OutputArgs& out,
            const PassArgs* pass, int max_rows) {
  const int blocks = m.rows / kTileRows / tile_rows_a_block(m, out.mode);
  const bool once = m.k_tiles <= m.slices * kBatchTiles && blocks <= 4 * queue.processors;
  if (max_rows <= 4) {
    if (once) return start<kBits, kGroup32, 1, true, true>(queue, m, in, act, out, pass);
    return start<kBits, kGroup32, 1, true, false>(queue, m, in, act, out, pass);
  }
  if (max_rows <= 16) return start<kBits, kGroup32, 4, false, false>(queue, m, in, act, out, pass);
  start<kBits, kGroup32, 16, false, false>(queue, m, in, act, out, pass);
}

}  // namespace

void PROSA_GEMV_NAME(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const ActView& act,
                     const OutputArgs& out, const PassArgs* pass, int max_rows) {
  if (m.group == 32) return choose<kInstanceBits, true>(queue, m, in, act, out, pass, max_rows);
  choose<kInstanceBits, false>(queue, m, in, act, out, pass, max_rows);
}

}  // namespace prosa::backend::cuda
