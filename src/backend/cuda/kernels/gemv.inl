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

template <int kBits, bool kGroup32, Input kIn, Output kOut>
void start_few(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const OutputArgs& out,
               const PassArgs* pass, int max_rows) {
  const int per_block = tile_rows_a_block(m, out.mode);
  const dim3 grid((m.rows / kTileRows + per_block - 1) / per_block);
  const dim3 block(32, m.slices, per_block);
  const auto go = [&](auto* kernel, int rows) {
    const int shared = few_shared_bytes<kGroup32>(m.k_tiles, per_block * m.slices, rows);
    allow_shared(kernel, shared);
    launch(queue, kernel, grid, block, shared, m, in, out, pass);
  };
  const bool halves = m.scale_type == ScaleType::f16;
  if (max_rows == 1) {
    go(halves ? gemv_few_kernel<kBits, kGroup32, true, kIn, kOut, 1>
              : gemv_few_kernel<kBits, kGroup32, false, kIn, kOut, 1>,
       1);
  } else {
    go(halves ? gemv_few_kernel<kBits, kGroup32, true, kIn, kOut, 4>
              : gemv_few_kernel<kBits, kGroup32, false, kIn, kOut, 4>,
       4);
  }
}

/// Whether a kernel of decoding has this combination; if so, it is launched.
template <int kBits, bool kGroup32>
bool few(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const OutputArgs& out, const PassArgs* pass,
         int max_rows) {
  if (m.per_slice > kBatchTiles || m.k_tiles % kBatchTiles != 0 || m.k_tiles > 64 || out.mode == Output::logits)
    return false;
  if (in.mode == Input::norm && out.mode == Output::store) {
    start_few<kBits, kGroup32, Input::norm, Output::store>(queue, m, in, out, pass, max_rows);
  } else if (in.mode == Input::norm && out.mode == Output::silu) {
    start_few<kBits, kGroup32, Input::norm, Output::silu>(queue, m, in, out, pass, max_rows);
  } else if (in.mode == Input::gated && out.mode == Output::add) {
    start_few<kBits, kGroup32, Input::gated, Output::add>(queue, m, in, out, pass, max_rows);
  } else if (in.mode == Input::plain && out.mode == Output::add) {
    start_few<kBits, kGroup32, Input::plain, Output::add>(queue, m, in, out, pass, max_rows);
  } else {
    return false;
  }
  return true;
}

template <int kBits, bool kGroup32, int kTiles, bool kFused>
void start_stream(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, ActView act, const OutputArgs& out,
                  const PassArgs* pass) {
  size_t shared = 0;
  if (kFused) {
    act.plane_stride = (m.k_tiles + 1) / 2 * kSegment + 64;
    act.groups = (m.k_tiles + 1) / 2 * (kGroup32 ? 4 : 2);
    shared = static_cast<size_t>(4) * (2 * act.plane_stride + act.groups * sizeof(float2));
  }
  const int units = m.rows / kTileRows / (out.mode == Output::silu ? 2 : 1);
  const int warps = units >= 16 * queue.processors ? 8 : 1;
  const int blocks = min((units + warps - 1) / warps, queue.processors * (kTiles == 1 ? 2 : 1) * (8 / warps));
  launch(queue, gemv_stream_kernel<kBits, kGroup32, kTiles, kFused>, dim3(blocks), dim3(warps * 32), shared, m, in, act,
         out, pass);
}

template <int kBits, bool kGroup32, int kTiles>
void start_many(const Queue& queue, const DeviceMatrix& m, const ActView& act, const OutputArgs& out,
                const PassArgs* pass) {
  auto* const kernel = gemv_many_kernel<kBits, kGroup32, kTiles>;
  const int per_block = tile_rows_a_block(m, out.mode);
  const int shared = per_block * m.slices * kTileRows * (4 * kTiles + 1) * static_cast<int>(sizeof(float));
  allow_shared(kernel, shared);
  launch(queue, kernel, dim3((m.rows / kTileRows + per_block - 1) / per_block), dim3(32, m.slices, per_block), shared,
         m, act, out, pass);
}

template <int kBits, bool kGroup32>
bool choose(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const ActView* act, const OutputArgs& out,
            const PassArgs* pass, int max_rows) {
  if (act == nullptr) {
    if (few<kBits, kGroup32>(queue, m, in, out, pass, max_rows)) return true;
    if (in.mode != Input::norm || (m.k_tiles + 1) / 2 > kMaxFusedSegments) return false;
    start_stream<kBits, kGroup32, 1, true>(queue, m, in, ActView{}, out, pass);
    return true;
  }
  if (max_rows <= kFewRows) {
    start_stream<kBits, kGroup32, 1, false>(queue, m, in, *act, out, pass);
  } else if (max_rows <= 16) {
    start_many<kBits, kGroup32, 4>(queue, m, *act, out, pass);
  } else {
    start_many<kBits, kGroup32, 16>(queue, m, *act, out, pass);
  }
  return true;
}

}  // namespace

bool PROSA_GEMV_NAME(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const ActView* act,
                     const OutputArgs& out, const PassArgs* pass, int max_rows) {
  if (m.group == 32) return choose<kInstanceBits, true>(queue, m, in, act, out, pass, max_rows);
  return choose<kInstanceBits, false>(queue, m, in, act, out, pass, max_rows);
}

}  // namespace prosa::backend::cuda
