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

/// The last inputs of one channel, in registers: taps - 1 old ones, and the weights. kTaps: as many as there are.
template <int kTaps>
struct Channel {
  float weight[kTaps];
  float past[kTaps];  // oldest first; the last one is the token's own
  int at = -1;        // column of a row of products; -1: none

  /// Before the rows are there. position: of the next token.
  __device__ void load(const DeltaShape& s, const DeltaLayer& layer, const float* window, int position, int channel) {
    at = channel;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      weight[tap] = layer.conv[static_cast<int64_t>(tap) * s.conv_dim + channel];
      const int slot = (position + tap + 1) % kTaps;  // position - (kTaps - 1 - tap)
      if (tap < kTaps - 1) past[tap] = window[static_cast<int64_t>(slot) * s.conv_dim + channel];
    }
  }
  /// SiLU of the convolution with the row's value; moves on by one token.
  __device__ float step(float x) {
    past[kTaps - 1] = x;
    float sum = 0;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) sum = __fmaf_rn(weight[tap], past[tap], sum);
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap) past[tap] = past[tap + 1];
    return silu(sum);
  }
};

/// kRows: rows of the state in a thread, key_dim / 32 rounded up.
template <int kRows, int kTaps>
__global__ __launch_bounds__(kThreads) void delta_kernel(DeltaArgs args, const PassArgs* pass) {
  constexpr int kDims = kRows * 32;
  constexpr int kMine = (2 * kDims + kStateColumns + kThreads - 1) / kThreads;  // channels of a thread
  __shared__ float channels[2 * kDims + kStateColumns];                         // q, k, v
  __shared__ float gates[2];                                                    // decay, beta
  __shared__ float products[3];                                                 // q . q, k . k, q . k
  __shared__ __align__(16) float sums[2][kThreads / 32][kStateColumns];
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
  const int64_t matrix =
      layer.matrix_at + (static_cast<int64_t>(head) * s.value_tiles + tile) * s.key_dim * kStateColumns;
  const float* const window = item.found + layer.conv_at;
  const int columns = min(kStateColumns, s.value_dim - tile * kStateColumns);

  // All that stands there before this pass is read before its products are there.
  float4 state[kRows];
  Channel<kTaps> channel[kMine];
  float rate = 0;
  float bias = 0;
  if (mine) {
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const int i = row0 + 32 * m;
      state[m] = {0, 0, 0, 0};
      if (i < s.key_dim)
        state[m] = *reinterpret_cast<const float4*>(item.found + matrix + i * kStateColumns + quarter * 4);
    }
#pragma unroll
    for (int c = 0; c < kMine; ++c) {
      const int i = thread + c * kThreads;
      if (i < kDims) {
        if (i < s.key_dim) channel[c].load(s, layer, window, item.position, key_head * s.key_dim + i);
      } else if (i < 2 * kDims) {
        if (i - kDims < s.key_dim)
          channel[c].load(s, layer, window, item.position, (s.key_heads + key_head) * s.key_dim + i - kDims);
      } else if (i - 2 * kDims < columns) {
        channel[c].load(s, layer, window, item.position,
                        2 * s.key_heads * s.key_dim + head * s.value_dim + tile * kStateColumns + i - 2 * kDims);
      }
    }
    rate = layer.rate[head];
    bias = layer.dt_bias[head];
  }
  wait_previous();
  signal_next();
  if (!mine) return;

  const RowSource rows = source_of(args, item, index);
  for (int t = 0; t < item.count; ++t) {
    const float* const row = rows.row(t);
    float gate = 0;
    if (thread == 96) gate = row[s.a_at + head];
    if (thread == 64) gate = row[s.b_at + head];
    float x[kMine];
#pragma unroll
    for (int c = 0; c < kMine; ++c) x[c] = channel[c].at >= 0 ? row[channel[c].at] : 0.0F;
#pragma unroll
    for (int c = 0; c < kMine; ++c) {
      const int i = thread + c * kThreads;
      if (i < 2 * kDims + kStateColumns) channels[i] = channel[c].at >= 0 ? channel[c].step(x[c]) : 0.0F;
    }
    __syncthreads();
    float keys[kRows];
    float4 by_key{0, 0, 0, 0};
    float4 by_query{0, 0, 0, 0};
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float q = channels[row0 + 32 * m];
      const float k = channels[kDims + row0 + 32 * m];
      const float4 v = state[m];
      keys[m] = k;
      by_key.x = __fmaf_rn(v.x, k, by_key.x), by_key.y = __fmaf_rn(v.y, k, by_key.y);
      by_key.z = __fmaf_rn(v.z, k, by_key.z), by_key.w = __fmaf_rn(v.w, k, by_key.w);
      by_query.x = __fmaf_rn(v.x, q, by_query.x), by_query.y = __fmaf_rn(v.y, q, by_query.y);
      by_query.z = __fmaf_rn(v.z, q, by_query.z), by_query.w = __fmaf_rn(v.w, q, by_query.w);
    }
    if (warp < 3) {  // what the norms need, one product a warp
      const float* const left = warp == 1 ? channels + kDims : channels;
      const float* const right = warp == 0 ? channels : channels + kDims;
      float sum = 0;
#pragma unroll
      for (int m = 0; m < kRows; ++m) sum = __fmaf_rn(left[lane + 32 * m], right[lane + 32 * m], sum);
      sum = sum_lanes(sum);
      if (lane == 0) products[warp] = sum;
    }
    if (thread == 96) gates[0] = expf(-rate * softplus(gate + bias));
    if (thread == 64) gates[1] = 1.0F / (1.0F + expf(-gate));
#pragma unroll
    for (int step = 16; step >= 4; step /= 2) {
      by_key.x += __shfl_xor_sync(0xffffffffU, by_key.x, step),
          by_key.y += __shfl_xor_sync(0xffffffffU, by_key.y, step);
      by_key.z += __shfl_xor_sync(0xffffffffU, by_key.z, step),
          by_key.w += __shfl_xor_sync(0xffffffffU, by_key.w, step);
      by_query.x += __shfl_xor_sync(0xffffffffU, by_query.x, step);
      by_query.y += __shfl_xor_sync(0xffffffffU, by_query.y, step);
      by_query.z += __shfl_xor_sync(0xffffffffU, by_query.z, step);
      by_query.w += __shfl_xor_sync(0xffffffffU, by_query.w, step);
    }
    if (lane < 4) {
      *reinterpret_cast<float4*>(&sums[0][warp][quarter * 4]) = by_key;
      *reinterpret_cast<float4*>(&sums[1][warp][quarter * 4]) = by_query;
    }
    __syncthreads();
    // k and q are x / |x|, q also / sqrt(key_dim): numbers that the sums above are multiplied with afterwards.
    const float decay = gates[0];
    const float q_scale = rsqrtf(products[0] + 1e-6F) * rsqrtf(static_cast<float>(s.key_dim));
    const float k_scale = rsqrtf(products[1] + 1e-6F);
    float4 delta;
    float* const d = &delta.x;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int column = quarter * 4 + c;
      const float known = ((sums[0][0][column] + sums[0][1][column]) + sums[0][2][column]) + sums[0][3][column];
      d[c] = gates[1] * (channels[2 * kDims + column] - known * decay * k_scale);
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float k = keys[m] * k_scale;
      float4& v = state[m];
      v.x = __fmaf_rn(k, delta.x, v.x * decay), v.y = __fmaf_rn(k, delta.y, v.y * decay);
      v.z = __fmaf_rn(k, delta.z, v.z * decay), v.w = __fmaf_rn(k, delta.w, v.w * decay);
    }
    if (!args.replay && thread < 4) {
      const float both = products[2] * q_scale * k_scale;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int column = thread * 4 + c;
        const float before = ((sums[1][0][column] + sums[1][1][column]) + sums[1][2][column]) + sums[1][3][column];
        if (column < columns) {
          args.out[static_cast<int64_t>(item.first + t) * args.out_stride + head * s.value_dim + tile * kStateColumns +
                   column] = __fmaf_rn(both, d[c], before * decay * q_scale);
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
      left[static_cast<int64_t>(item.position % kTaps) * s.conv_dim + c] = rows.row(0)[c];
      if (!moved) continue;
#pragma unroll
      for (int other = 1; other < kTaps; ++other) {
        const int64_t at = static_cast<int64_t>((item.position + other) % kTaps) * s.conv_dim + c;
        left[at] = window[at];
      }
    }
  }
}

/// A thread a channel: slot p % kernel has position p afterwards, for the newest `kernel` positions.
__global__ void windows_kernel(DeltaArgs args, const PassArgs* pass) {
  constexpr int kMaxKernel = 64;
  wait_previous();
  signal_next();
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

namespace {

template <int kTaps>
void start(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, dim3 grid) {
  const int rows = (args.shape.key_dim + 31) / 32;
  if (rows <= 1) return launch(queue, delta_kernel<1, kTaps>, grid, dim3(kThreads), 0, args, pass);
  if (rows <= 2) return launch(queue, delta_kernel<2, kTaps>, grid, dim3(kThreads), 0, args, pass);
  if (rows <= 4) return launch(queue, delta_kernel<4, kTaps>, grid, dim3(kThreads), 0, args, pass);
  launch(queue, delta_kernel<8, kTaps>, grid, dim3(kThreads), 0, args, pass);
}

}  // namespace

void launch_delta_steps(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items) {
  const dim3 grid(args.shape.value_heads * args.shape.value_tiles, max_items, args.layer_count);
  switch (args.shape.kernel) {
    case 2: return start<2>(queue, args, pass, grid);
    case 3: return start<3>(queue, args, pass, grid);
    default: return start<4>(queue, args, pass, grid);  // model.cpp lets no other in
  }
}

void launch_windows(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items) {
  const dim3 grid((args.shape.conv_dim + 127) / 128, max_items, args.layer_count);
  launch(queue, windows_kernel, grid, dim3(128), 0, args, pass);
}

}  // namespace prosa::backend::cuda
