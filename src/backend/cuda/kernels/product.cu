// Products of few rows: which kernel a matrix needs, the kernel that makes inputs for many rows, and dense matrices.
#include <algorithm>

#include "backend/cuda/kernels/batch.h"
#include "backend/cuda/kernels/gemv.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {

/// act null: makes its inputs itself, or returns false when it cannot.
#define PROSA_DECLARE_GEMV(bits)                                                                              \
  bool launch_gemv_##bits(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const ActView* act, \
                          const OutputArgs& out, const PassArgs* pass, int max_rows);
PROSA_DECLARE_GEMV(2)
PROSA_DECLARE_GEMV(3)
PROSA_DECLARE_GEMV(4)
PROSA_DECLARE_GEMV(5)
PROSA_DECLARE_GEMV(6)
PROSA_DECLARE_GEMV(8)
#undef PROSA_DECLARE_GEMV

namespace {

constexpr int kMaxInputSegments = 256;  // of 128 columns: model.cpp lets no wider model in

enum class Made : int { planes32, planes64, turned, floats, halves };

struct MadeArgs {
  uint8_t* planes = nullptr;  // [row][2][columns]; turned: BatchInputs
  float2* scales = nullptr;   // [row][groups]; turned: BatchInputs
  int plane_count = 0;        // turned: of a segment
  float* factors = nullptr;   // [row] with planes
  float* floats = nullptr;    // [row][columns]
  uint2* halves = nullptr;    // f16, tiled_at()
  int columns = 0;            // padded; planes: to whole segments
};

/// A block a row. `pass` null: as many rows as blocks.
template <Input kIn, Made kMade>
__global__ void inputs_kernel(InputArgs in, MadeArgs to, const PassArgs* pass) {
  wait_previous();
  signal_next();
  const int row = blockIdx.x;
  if (pass != nullptr && row >= pass->rows) return;
  const int lane = threadIdx.x % 32;
  __shared__ float squares[kMaxInputSegments];
  float scale = 1;
  if (kIn == Input::norm) {
    const int segments = (in.width + kSegment - 1) / kSegment;
    for (int s = threadIdx.x / 32; s < segments; s += blockDim.x / 32) {
      const float4 x = load_four(in.x + static_cast<int64_t>(row) * in.x_stride, s * kSegment + lane * 4, in.width);
      const float sum = sum_lanes(add_squares(x, 0));
      if (lane == 0) squares[s] = sum;
    }
    __syncthreads();
    scale = scale_of(squares, segments, in);
  }
  if (to.factors != nullptr && threadIdx.x == 0) to.factors[row] = scale;
  for (int s = threadIdx.x / 32; s * kSegment < to.columns; s += blockDim.x / 32) {
    float late = 1;
    float4 v = input_four<kIn>(in, row, s, lane, input_weight<kIn>(in, s, lane), late);
    const int col = s * kSegment + lane * 4;
    if constexpr (kMade == Made::planes32 || kMade == Made::planes64) {
      constexpr bool kGroup32 = kMade == Made::planes32;
      constexpr int kGroups = kGroup32 ? 4 : 2;  // of a segment
      uint8_t* const high = to.planes + static_cast<int64_t>(row) * 2 * to.columns + s * kSegment;
      quantize_segment<kGroup32>(
          v, late, lane, high, high + to.columns,
          to.scales + static_cast<int64_t>(row) * (to.columns / kSegment * kGroups) + s * kGroups);
    } else if constexpr (kMade == Made::turned) {
      quantize_turned(v, late, lane, row, to.planes + static_cast<int64_t>(s) * to.plane_count * kSegment,
                      to.scales + s * 2 * kMaxRows);
    } else if (col < to.columns) {
      const int64_t at = static_cast<int64_t>(row) * to.columns + col;
      const float factor = kIn == Input::norm ? scale : late;
      v = {v.x * factor, v.y * factor, v.z * factor, v.w * factor};
      if constexpr (kMade == Made::floats) *reinterpret_cast<float4*>(to.floats + at) = v;
      if constexpr (kMade == Made::halves)
        to.halves[tiled_at(row, col, to.columns / kTileCols) / 4] = {pack_f16(v.x, v.y), pack_f16(v.z, v.w)};
    }
  }
}

template <Input kIn>
void make(const Queue& queue, const InputArgs& in, Made made, const MadeArgs& to, const PassArgs* pass, int rows) {
  const dim3 block(made == Made::turned ? 32 * std::clamp(to.columns / kSegment, 8, 32) : 256);
  switch (made) {
    case Made::planes32: return launch(queue, inputs_kernel<kIn, Made::planes32>, dim3(rows), block, 0, in, to, pass);
    case Made::planes64: return launch(queue, inputs_kernel<kIn, Made::planes64>, dim3(rows), block, 0, in, to, pass);
    case Made::turned: return launch(queue, inputs_kernel<kIn, Made::turned>, dim3(rows), block, 0, in, to, pass);
    case Made::floats: return launch(queue, inputs_kernel<kIn, Made::floats>, dim3(rows), block, 0, in, to, pass);
    case Made::halves: return launch(queue, inputs_kernel<kIn, Made::halves>, dim3(rows), block, 0, in, to, pass);
  }
}

void make(const Queue& queue, const InputArgs& in, Made made, const MadeArgs& to, const PassArgs* pass, int rows) {
  switch (in.mode) {
    case Input::plain: return make<Input::plain>(queue, in, made, to, pass, rows);
    case Input::norm: return make<Input::norm>(queue, in, made, to, pass, rows);
    case Input::gated: return make<Input::gated>(queue, in, made, to, pass, rows);
    case Input::silu: return make<Input::silu>(queue, in, made, to, pass, rows);
  }
}

__device__ inline float4 dense_four(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ inline float4 dense_four(const __nv_bfloat16* p) {
  const uint2 v = *reinterpret_cast<const uint2*>(p);
  return {__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000U), __uint_as_float(v.y << 16),
          __uint_as_float(v.y & 0xffff0000U)};
}

constexpr int kDenseTokens = 4;

/// A warp computes the rows r and r + 16 of a pair of tiles, for four tokens at a time.
/// Order of a sum: a lane's columns in order, then the lanes by halves.
template <typename T>
__global__ void dense_kernel(DeviceMatrix m, const float* x, OutputArgs out, const PassArgs* pass) {
  const int rows = pass->rows;
  wait_previous();
  signal_next();
  const int lane = threadIdx.x % 32;
  const int index = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const int n0 = index / kTileRows * 2 * kTileRows + index % kTileRows;
  const int n1 = n0 + kTileRows;
  if (n0 >= m.rows) return;
  const int width = m.k_tiles * kTileCols;
  const T* const w0 = static_cast<const T*>(m.dense) + static_cast<int64_t>(n0) * width;
  const T* const w1 = n1 < m.rows ? w0 + static_cast<int64_t>(kTileRows) * width : w0;
  for (int first = 0; first < rows; first += kDenseTokens) {
    float sums[2][kDenseTokens] = {};
    for (int col = lane * 4; col < width; col += 128) {
      const float4 a = dense_four(w0 + col);
      const float4 b = dense_four(w1 + col);
#pragma unroll
      for (int t = 0; t < kDenseTokens; ++t) {
        if (first + t >= rows) break;
        const float4 v = *reinterpret_cast<const float4*>(x + static_cast<int64_t>(first + t) * width + col);
        sums[0][t] = __fmaf_rn(a.w, v.w, __fmaf_rn(a.z, v.z, __fmaf_rn(a.y, v.y, __fmaf_rn(a.x, v.x, sums[0][t]))));
        sums[1][t] = __fmaf_rn(b.w, v.w, __fmaf_rn(b.z, v.z, __fmaf_rn(b.y, v.y, __fmaf_rn(b.x, v.x, sums[1][t]))));
      }
    }
#pragma unroll
    for (int t = 0; t < kDenseTokens; ++t) {
      const float y0 = sum_lanes(sums[0][t]);
      const float y1 = sum_lanes(sums[1][t]);
      if (lane != 0 || first + t >= rows) continue;
      if (out.mode == Output::silu) {
        put_pair(out, first + t, n0 / (2 * kTileRows) * kTileRows + n0 % kTileRows, y0, y1);
      } else {
        put(out, pass, first + t, n0, y0);
        if (n1 < m.rows) put(out, pass, first + t, n1, y1);
      }
    }
  }
}

__global__ void gated_norm_kernel(InputArgs in, const PassArgs* pass, float* out, int out_stride) {
  wait_previous();
  signal_next();
  const int row = blockIdx.x;
  if (pass != nullptr && row >= pass->rows) return;
  const int lane = threadIdx.x % 32;
  for (int head = threadIdx.x / 32; head < in.width / in.head; head += blockDim.x / 32) {
    const float* x = in.x + static_cast<int64_t>(row) * in.x_stride + head * in.head;
    const float* z = in.y + static_cast<int64_t>(row) * in.y_stride + head * in.head;
    float squares = 0;
    for (int i = lane; i < in.head; i += 32) squares = __fmaf_rn(x[i], x[i], squares);
    const float scale = 1.0F / sqrtf(sum_lanes(squares) / static_cast<float>(in.head) + in.eps);
    for (int i = lane; i < in.head; i += 32) {
      out[static_cast<int64_t>(row) * out_stride + head * in.head + i] = x[i] * scale * in.weight[i] * silu(z[i]);
    }
  }
}

}  // namespace

void launch_inputs_f16(const Queue& queue, const InputArgs& in, int rows, int stride, void* out) {
  MadeArgs to;
  to.halves = static_cast<uint2*>(out);
  to.columns = stride;
  make(queue, in, Made::halves, to, nullptr, rows);
}

void launch_gated_norm(const Queue& queue, const InputArgs& in, const PassArgs* pass, int max_rows, float* out,
                       int out_stride) {
  launch(queue, gated_norm_kernel, dim3(max_rows), dim3(256), 0, in, pass, out, out_stride);
}

void launch_product(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const OutputArgs& out,
                    const PassArgs* pass, int max_rows, const ActBuffers& act) {
  MadeArgs to;
  if (m.format != Format::quantized) {
    to.floats = act.floats;
    to.columns = m.k_tiles * kTileCols;
    make(queue, in, Made::floats, to, pass, max_rows);
    const dim3 grid((m.rows / 2 + kTileRows - 1 + 7) / 8);
    if (m.format == Format::bf16) {
      launch(queue, dense_kernel<__nv_bfloat16>, grid, dim3(256), 0, m, act.floats, out, pass);
    } else {
      launch(queue, dense_kernel<float>, grid, dim3(256), 0, m, act.floats, out, pass);
    }
    return;
  }
  const auto multiply = [&](const ActView* view) {
    switch (m.bits) {
      case 2: return launch_gemv_2(queue, m, in, view, out, pass, max_rows);
      case 3: return launch_gemv_3(queue, m, in, view, out, pass, max_rows);
      case 4: return launch_gemv_4(queue, m, in, view, out, pass, max_rows);
      case 5: return launch_gemv_5(queue, m, in, view, out, pass, max_rows);
      case 6: return launch_gemv_6(queue, m, in, view, out, pass, max_rows);
      default: return launch_gemv_8(queue, m, in, view, out, pass, max_rows);
    }
  };
  if (max_rows <= kFewRows && multiply(nullptr)) return;
  to.planes = act.planes;
  to.scales = reinterpret_cast<float2*>(act.scales);
  to.columns = (m.k_tiles + 1) / 2 * kSegment;
  to.factors = act.factors;
  if (max_rows > kFewRows && batch_supported(queue, m)) {
    to.plane_count = batch_planes(max_rows);
    make(queue, in, Made::turned, to, pass, max_rows);
    return launch_batch(queue, m, {to.planes, to.scales, to.factors}, out, pass, max_rows);
  }
  make(queue, in, m.group == 32 ? Made::planes32 : Made::planes64, to, pass, max_rows);
  const ActView view{act.planes, to.scales, act.factors, to.columns, to.columns / kSegment * (m.group == 32 ? 4 : 2)};
  multiply(&view);
}

}  // namespace prosa::backend::cuda
