// The delta rule token by token: convolution, norms, gates and the state's step, for decoding, for tokens that run
// ahead and for their replay. Every one of them is the same function of the same inputs, so the bits are the same.
//
// A block has 16 value columns of a value head in registers; four lanes next to each other share a row of them.
// Order of a sum over key dims: a thread's rows (i + 32 m) in order, eight lanes by halves, four warps in order.
#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kMaxKept = 32;  // rows that an item keeps a layer

/// Row t of an item's products: in the pass's buffer, or kept.
struct RowSource {
  const float* base;
  int64_t stride;
  __device__ const float* row(int t) const { return base + t * stride; }
};

__device__ inline RowSource source_of(const DeltaArgs& args, const ItemArgs& item, int layer) {
  if (args.replay) return {item.keep + static_cast<int64_t>(layer) * kMaxKept * args.shape.stride, args.shape.stride};
  return {args.rows + static_cast<int64_t>(item.first) * args.shape.stride, args.shape.stride};
}

/// SiLU of the convolution at token t of the item.
__device__ inline float convolve(const DeltaShape& s, const DeltaLayer& layer, const float* window, RowSource rows,
                                 int position, int t, int channel) {
  float sum = 0;
  for (int tap = 0; tap < s.kernel; ++tap) {
    const int back = s.kernel - 1 - tap;
    float x = 0;
    if (back <= t) {
      x = rows.row(t - back)[channel];
    } else {
      const int slot = (position + t - back + s.kernel) % s.kernel;
      x = window[static_cast<int64_t>(slot) * s.conv_dim + channel];
    }
    sum = __fmaf_rn(layer.conv[static_cast<int64_t>(tap) * s.conv_dim + channel], x, sum);
  }
  return silu(sum);
}

/// kRows: rows of the state in a thread, key_dim / 32 rounded up.
template <int kRows>
__global__ __launch_bounds__(kThreads) void delta_kernel(DeltaArgs args, const PassArgs* pass) {
  __shared__ float qs[kRows * 32];
  __shared__ float ks[kRows * 32];
  __shared__ float vs[kStateColumns];
  __shared__ float gates[3];  // decay, beta, k . q
  __shared__ float sums[2][kThreads / 32][kStateColumns];
  signal_next();
  const DeltaShape& s = args.shape;
  const int index = args.layer + static_cast<int>(blockIdx.z);
  const DeltaLayer layer = args.layers[index];
  const int head = static_cast<int>(blockIdx.x) / s.value_tiles;
  const int tile = static_cast<int>(blockIdx.x) % s.value_tiles;
  const int key_head = head / (s.value_heads / s.key_heads);
  const bool mine = static_cast<int>(blockIdx.y) < pass->items;
  const ItemArgs item = pass->item[mine ? blockIdx.y : 0];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int quarter = thread % 4;
  const int row0 = thread / 4;
  const int64_t matrix = layer.matrix_at + (static_cast<int64_t>(head) * s.value_tiles + tile) * s.key_dim * kStateColumns;

  float4 state[kRows];
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const int i = row0 + 32 * m;
    state[m] = {0, 0, 0, 0};
    if (mine && i < s.key_dim)
      state[m] = *reinterpret_cast<const float4*>(item.found + matrix + i * kStateColumns + quarter * 4);
  }
  wait_previous();
  if (!mine) return;

  const RowSource rows = source_of(args, item, index);
  const float* const window = item.found + layer.conv_at;
  const int q_at = key_head * s.key_dim;
  const int k_at = (s.key_heads + key_head) * s.key_dim;
  const int v_at = 2 * s.key_heads * s.key_dim + head * s.value_dim + tile * kStateColumns;
  const int columns = min(kStateColumns, s.value_dim - tile * kStateColumns);

  for (int t = 0; t < item.count; ++t) {
    for (int i = thread; i < kRows * 32; i += kThreads) {
      qs[i] = i < s.key_dim ? convolve(s, layer, window, rows, item.position, t, q_at + i) : 0.0F;
      ks[i] = i < s.key_dim ? convolve(s, layer, window, rows, item.position, t, k_at + i) : 0.0F;
    }
    if (thread < kStateColumns)
      vs[thread] = thread < columns ? convolve(s, layer, window, rows, item.position, t, v_at + thread) : 0.0F;
    __syncthreads();
    if (warp < 2) {  // the norms: warp 0 of q, warp 1 of k
      float* const x = warp == 0 ? qs : ks;
      float squares = 0;
#pragma unroll
      for (int m = 0; m < kRows; ++m) squares = __fmaf_rn(x[lane + 32 * m], x[lane + 32 * m], squares);
      float scale = 1.0F / sqrtf(sum_lanes(squares) + 1e-6F);
      if (warp == 0) scale = scale * (1.0F / sqrtf(static_cast<float>(s.key_dim)));
#pragma unroll
      for (int m = 0; m < kRows; ++m) x[lane + 32 * m] *= scale;
    } else if (thread == 64) {
      const float* row = rows.row(t);
      gates[0] = expf(-layer.rate[head] * softplus(row[s.a_at + head] + layer.dt_bias[head]));
      gates[1] = sigmoid(row[s.b_at + head]);
    }
    __syncthreads();
    if (warp == 2) {
      float dot = 0;
#pragma unroll
      for (int m = 0; m < kRows; ++m) dot = __fmaf_rn(ks[lane + 32 * m], qs[lane + 32 * m], dot);
      dot = sum_lanes(dot);
      if (lane == 0) gates[2] = dot;
    }
    const float decay = gates[0];
    float4 by_key{0, 0, 0, 0};
    float4 by_query{0, 0, 0, 0};
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float k = ks[row0 + 32 * m];
      const float q = qs[row0 + 32 * m];
      float4& x = state[m];
      x.x *= decay, x.y *= decay, x.z *= decay, x.w *= decay;
      by_key.x = __fmaf_rn(x.x, k, by_key.x), by_key.y = __fmaf_rn(x.y, k, by_key.y);
      by_key.z = __fmaf_rn(x.z, k, by_key.z), by_key.w = __fmaf_rn(x.w, k, by_key.w);
      by_query.x = __fmaf_rn(x.x, q, by_query.x), by_query.y = __fmaf_rn(x.y, q, by_query.y);
      by_query.z = __fmaf_rn(x.z, q, by_query.z), by_query.w = __fmaf_rn(x.w, q, by_query.w);
    }
    const auto over_lanes = [](float4& x) {
#pragma unroll
      for (int step = 16; step >= 4; step /= 2) {
        x.x += __shfl_xor_sync(0xffffffffU, x.x, step), x.y += __shfl_xor_sync(0xffffffffU, x.y, step);
        x.z += __shfl_xor_sync(0xffffffffU, x.z, step), x.w += __shfl_xor_sync(0xffffffffU, x.w, step);
      }
    };
    over_lanes(by_key);
    over_lanes(by_query);
    if (lane < 4) {
      *reinterpret_cast<float4*>(&sums[0][warp][quarter * 4]) = by_key;
      *reinterpret_cast<float4*>(&sums[1][warp][quarter * 4]) = by_query;
    }
    __syncthreads();
    float4 delta;
    float* const d = &delta.x;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int column = quarter * 4 + c;
      const float known = ((sums[0][0][column] + sums[0][1][column]) + sums[0][2][column]) + sums[0][3][column];
      d[c] = gates[1] * (vs[column] - known);
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float k = ks[row0 + 32 * m];
      float4& x = state[m];
      x.x = __fmaf_rn(k, delta.x, x.x), x.y = __fmaf_rn(k, delta.y, x.y);
      x.z = __fmaf_rn(k, delta.z, x.z), x.w = __fmaf_rn(k, delta.w, x.w);
    }
    if (!args.replay && thread < 4) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int column = thread * 4 + c;
        const float before = ((sums[1][0][column] + sums[1][1][column]) + sums[1][2][column]) + sums[1][3][column];
        if (column < columns) {
          args.out[static_cast<int64_t>(item.first + t) * args.out_stride + head * s.value_dim + tile * kStateColumns +
                   column] = __fmaf_rn(gates[2], d[c], before);
        }
      }
    }
    if (t + 1 < item.count) __syncthreads();
  }

  if (item.left != nullptr) {
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const int i = row0 + 32 * m;
      if (i < s.key_dim) *reinterpret_cast<float4*>(item.left + matrix + i * kStateColumns + quarter * 4) = state[m];
    }
  }
  const int blocks = static_cast<int>(gridDim.x);
  if (item.left == nullptr && item.keep != nullptr && !args.replay) {  // an even share of the rows
    float* const keep = item.keep + static_cast<int64_t>(index) * kMaxKept * s.stride;
    for (int t = 0; t < item.count; ++t) {
      for (int c = static_cast<int>(blockIdx.x) * kThreads + thread; c < s.stride; c += blocks * kThreads)
        keep[static_cast<int64_t>(t) * s.stride + c] = rows.row(t)[c];
    }
  }
  // One new token takes the slot of the oldest, which nobody reads any more.
  if (item.left != nullptr && item.count == 1 && !args.replay) {
    const bool moved = item.left != item.found;
    float* const left = item.left + layer.conv_at;
    for (int c = static_cast<int>(blockIdx.x) * kThreads + thread; c < s.conv_dim; c += blocks * kThreads) {
      for (int slot = 0; slot < s.kernel; ++slot) {
        const int64_t at = static_cast<int64_t>(slot) * s.conv_dim + c;
        if (slot == item.position % s.kernel) {
          left[at] = rows.row(0)[c];
        } else if (moved) {
          left[at] = window[at];
        }
      }
    }
  }
}

/// A thread a channel: slot p % kernel has position p afterwards, for the newest `kernel` positions.
__global__ void windows_kernel(DeltaArgs args, const PassArgs* pass) {
  constexpr int kMaxKernel = 64;
  signal_next();
  wait_previous();
  const DeltaShape& s = args.shape;
  const int index = args.layer + static_cast<int>(blockIdx.z);
  const DeltaLayer layer = args.layers[index];
  if (static_cast<int>(blockIdx.y) >= pass->items) return;
  const ItemArgs item = pass->item[blockIdx.y];
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= s.conv_dim || item.left == nullptr || (item.count == 1 && !args.replay)) return;
  const RowSource rows = source_of(args, item, index);
  const float* const found = item.found + layer.conv_at;
  float* const left = item.left + layer.conv_at;
  const int kernel = min(s.kernel, kMaxKernel);
  for (int slot = 0; slot < kernel; ++slot) {
    // The newest position of this slot among those fed, if any.
    const int end = item.position + item.count;
    const int newest = end - 1 - (end - 1 - slot % kernel + kernel) % kernel;
    const int64_t at = static_cast<int64_t>(slot) * s.conv_dim + c;
    if (newest >= item.position) {
      left[at] = rows.row(newest - item.position)[c];
    } else if (left != found) {
      left[at] = found[at];
    }
  }
}

}  // namespace

void launch_delta_steps(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items) {
  const dim3 grid(args.shape.value_heads * args.shape.value_tiles, max_items, args.layer_count);
  const int rows = (args.shape.key_dim + 31) / 32;
  if (rows <= 1) return launch(queue, delta_kernel<1>, grid, dim3(kThreads), 0, args, pass);
  if (rows <= 2) return launch(queue, delta_kernel<2>, grid, dim3(kThreads), 0, args, pass);
  if (rows <= 4) return launch(queue, delta_kernel<4>, grid, dim3(kThreads), 0, args, pass);
  launch(queue, delta_kernel<8>, grid, dim3(kThreads), 0, args, pass);
}

void launch_windows(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items) {
  const dim3 grid((args.shape.conv_dim + 127) / 128, max_items, args.layer_count);
  launch(queue, windows_kernel, grid, dim3(128), 0, args, pass);
}

}  // namespace prosa::backend::cuda
