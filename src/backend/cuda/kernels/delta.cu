// The delta rule token by token: convolution, norms, gates and the state's step, for decoding, for tokens that run
// ahead and for their replay. Every one of them is the same function of the same inputs, so the bits are the same.
//
// A block has 16 value columns of a value head; the arithmetic: delta.cuh.
#include "backend/cuda/kernels/delta_rows.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kThreads = kDeltaThreads;

/// kRows: rows of the state in a thread, key_dim / 32 rounded up.
template <int kRows, int kTaps>
__global__ __launch_bounds__(kThreads) void delta_kernel(DeltaArgs args, const PassArgs* pass) {
  constexpr int kDims = kRows * 32;
  constexpr int kMine = (2 * kDims + kStateColumns + kThreads - 1) / kThreads;  // channels of a thread
  __shared__ DeltaShared<kRows> shared;
  const DeltaShape& s = args.shape;
  const int index = args.layer + static_cast<int>(blockIdx.z);
  const DeltaLayer layer = args.layers[index];
  const int head = static_cast<int>(blockIdx.x) / s.value_tiles;
  const int tile = static_cast<int>(blockIdx.x) % s.value_tiles;
  const bool mine = static_cast<int>(blockIdx.y) < pass->items;
  const ItemArgs item = pass->item[mine ? blockIdx.y : 0];
  const int thread = static_cast<int>(threadIdx.x);
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
      const int at = delta_channel(s, kDims, head, tile, thread + c * kThreads);
      if (at >= 0) channel[c].load(s, layer, window, item.position, at);
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
      if (i < 2 * kDims + kStateColumns) shared.channels[i] = channel[c].at >= 0 ? channel[c].step(x[c]) : 0.0F;
    }
    __syncthreads();
    float keys[kRows];
    delta_sums(shared, state, keys, thread);
    if (thread == 96) shared.gates[0] = decay_of(gate, rate, bias);
    if (thread == 64) shared.gates[1] = beta_of(gate);
    __syncthreads();
    const float4 out = delta_update(shared, state, keys, s.key_dim, thread);
    if (!args.replay && thread < 4) {
      const float each[4] = {out.x, out.y, out.z, out.w};
      float* const to =
          args.out + static_cast<int64_t>(item.first + t) * args.out_stride + head * s.value_dim + tile * kStateColumns;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (thread * 4 + c < columns) to[thread * 4 + c] = each[c];
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
  if (launch_delta_many(queue, args, pass, max_items)) return;
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
