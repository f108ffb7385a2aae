// The delta rule token by token for many items: a block goes from item to item, and asks for the next one's state while
// it works on this one. The arithmetic is that of delta.cu (delta.cuh), so a row has the same bits.
//
// Two tiles of 16 value columns share a block: what they need of the head's keys and queries is made once.
#include <algorithm>

#include "backend/cuda/kernels/delta_rows.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kTiles = 2;
constexpr int kBlock = kTiles * kDeltaThreads;
constexpr int kBlocksAtOnce = 2;  // of a multiprocessor: their registers hold two items each
constexpr int kTaps = 4;
constexpr int kRows = 4;  // keys of up to 128
constexpr int kLeastItems = 5;

using Shared = DeltaShared<kRows, kTiles>;
constexpr int kMine = (Shared::kChannels + kBlock - 1) / kBlock;  // channels of a thread

/// What a thread needs of one item.
struct Waiting {
  float4 state[kRows];
  float past[kMine][kTaps - 1];
  float x[kMine];  // of the item's first row
  float gate = 0;
};

struct Place {
  int head;
  int64_t matrix_at;   // of this thread's tile
  int channel[kMine];  // of a row; -1: none
};

__device__ inline void load_state(Waiting& to, const DeltaShape& s, const DeltaLayer& layer, const Place& place,
                                  const ItemArgs& item) {
  const int thread = static_cast<int>(threadIdx.x) % kDeltaThreads;
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const int i = thread / 4 + 32 * m;
    to.state[m] = {0, 0, 0, 0};
    if (i < s.key_dim)
      to.state[m] = *reinterpret_cast<const float4*>(item.found + place.matrix_at + i * kStateColumns + thread % 4 * 4);
  }
#pragma unroll
  for (int c = 0; c < kMine; ++c) {
    if (place.channel[c] < 0) continue;
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap) {
      const int slot = (item.position + tap + 1) % kTaps;
      to.past[c][tap] = item.found[layer.conv_at + static_cast<int64_t>(slot) * s.conv_dim + place.channel[c]];
    }
  }
}

__device__ inline void load_row(Waiting& to, const DeltaShape& s, const Place& place, const float* row) {
  if (threadIdx.x == 96) to.gate = row[s.a_at + place.head];
  if (threadIdx.x == 64) to.gate = row[s.b_at + place.head];
#pragma unroll
  for (int c = 0; c < kMine; ++c) to.x[c] = place.channel[c] >= 0 ? row[place.channel[c]] : 0.0F;
}

/// The window after one row: the new input takes the slot of the oldest, which nobody reads any more. Blocks that have
/// the same keys: one of them writes.
__device__ inline void keep_window(const DeltaShape& s, const DeltaLayer& layer, const ItemArgs& item,
                                   const Waiting& now, const Place& place, bool writes_keys) {
#pragma unroll
  for (int c = 0; c < kMine; ++c) {
    const bool key = static_cast<int>(threadIdx.x) + c * kBlock < 2 * Shared::kDims;
    if (place.channel[c] < 0 || (key && !writes_keys)) continue;
    float* const left = item.left + layer.conv_at + place.channel[c];
    left[static_cast<int64_t>(item.position % kTaps) * s.conv_dim] = now.x[c];
    if (item.left == item.found) continue;
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap)
      left[static_cast<int64_t>((item.position + tap + 1) % kTaps) * s.conv_dim] = now.past[c][tap];
  }
}

__global__ __launch_bounds__(kBlock, kBlocksAtOnce) void delta_many_kernel(DeltaArgs args, const PassArgs* pass) {
  __shared__ Shared shared;
  __shared__ ItemArgs items[kMaxRows];
  const DeltaShape& s = args.shape;
  const DeltaLayer layer = args.layers[args.layer];
  const int splits = s.value_tiles / kTiles;
  const int tile0 = static_cast<int>(blockIdx.x) % splits * kTiles;
  const int in_block = static_cast<int>(threadIdx.x);
  const int thread = in_block % kDeltaThreads;  // of its tile's
  const int which = in_block / kDeltaThreads;
  const int step = static_cast<int>(gridDim.y);
  const int count = pass->items;
  int number = static_cast<int>(blockIdx.y);
  Place place;
  place.head = static_cast<int>(blockIdx.x) / splits;
  place.matrix_at =
      layer.matrix_at + (static_cast<int64_t>(place.head) * s.value_tiles + tile0 + which) * s.key_dim * kStateColumns;
  float weight[kMine][kTaps];
#pragma unroll
  for (int c = 0; c < kMine; ++c) {
    const int channel = delta_channel(s, Shared::kDims, place.head, tile0, in_block + c * kBlock, kTiles);
    place.channel[c] = channel;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap)
      weight[c][tap] = channel >= 0 ? layer.conv[static_cast<int64_t>(tap) * s.conv_dim + channel] : 0.0F;
  }
  const bool writes_keys = tile0 == 0 && place.head % (s.value_heads / s.key_heads) == 0;
  const float rate = layer.rate[place.head];
  const float bias = layer.dt_bias[place.head];
  for (int i = number + in_block * step; i < count; i += kBlock * step) items[i] = pass->item[i];
  __syncthreads();

  // All that stands there before this pass is read before its products are there.
  Waiting next;
  if (number < count) load_state(next, s, layer, place, items[number]);
  wait_previous();
  signal_next();
  if (number < count) load_row(next, s, place, source_of(args, items[number], args.layer).row(0));

  for (; number < count; number += step) {
    Waiting now = next;
    if (number + step < count) {
      load_state(next, s, layer, place, items[number + step]);
      load_row(next, s, place, source_of(args, items[number + step], args.layer).row(0));
    }
    const ItemArgs& item = items[number];
    const RowSource rows = source_of(args, item, args.layer);
    if (item.left != nullptr && item.count == 1) keep_window(s, layer, item, now, place, writes_keys);
    for (int t = 0; t < item.count; ++t) {
      if (t > 0) load_row(now, s, place, rows.row(t));
#pragma unroll
      for (int c = 0; c < kMine; ++c) {
        const int i = in_block + c * kBlock;
        if (i >= Shared::kChannels) continue;
        float sum = 0;
#pragma unroll
        for (int tap = 0; tap + 1 < kTaps; ++tap) sum = __fmaf_rn(weight[c][tap], now.past[c][tap], sum);
        sum = __fmaf_rn(weight[c][kTaps - 1], now.x[c], sum);
        shared.channels[i] = place.channel[c] >= 0 ? silu(sum) : 0.0F;
#pragma unroll
        for (int tap = 0; tap + 2 < kTaps; ++tap) now.past[c][tap] = now.past[c][tap + 1];
        now.past[c][kTaps - 2] = now.x[c];
      }
      __syncthreads();
      float keys[kRows];
      delta_sums(shared, now.state, keys, thread, which);
      if (in_block == 96) shared.gates[0] = decay_of(now.gate, rate, bias);
      if (in_block == 64) shared.gates[1] = beta_of(now.gate);
      __syncthreads();
      const float4 out = delta_update(shared, now.state, keys, s.key_dim, thread, which);
      const int column = (tile0 + which) * kStateColumns + thread * 4;
      if (thread < 4) {  // value heads are whole tiles here
        float* const to =
            args.out + static_cast<int64_t>(item.first + t) * args.out_stride + place.head * s.value_dim + column;
        to[0] = out.x, to[1] = out.y, to[2] = out.z, to[3] = out.w;
      }
      if (t + 1 < item.count || number + step < count) __syncthreads();
    }
    if (item.left != nullptr) {
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const int i = thread / 4 + 32 * m;
        if (i < s.key_dim)
          *reinterpret_cast<float4*>(item.left + place.matrix_at + i * kStateColumns + thread % 4 * 4) = now.state[m];
      }
    } else if (item.keep != nullptr) {  // tentative rows themselves, an even share of them
      float* const keep = item.keep + static_cast<int64_t>(args.layer) * kMaxKept * s.stride;
      for (int t = 0; t < item.count; ++t) {
        for (int c = static_cast<int>(blockIdx.x) * kBlock + in_block; c < s.stride;
             c += static_cast<int>(gridDim.x) * kBlock)
          keep[static_cast<int64_t>(t) * s.stride + c] = rows.row(t)[c];
      }
    }
  }
}

}  // namespace

bool launch_delta_many(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items) {
  const DeltaShape& s = args.shape;
  if (max_items < kLeastItems || args.replay || args.layer_count != 1 || s.kernel != kTaps || s.key_dim > kRows * 32 ||
      s.value_dim % (kTiles * kStateColumns) != 0)
    return false;
  const int parts = s.value_heads * s.value_tiles / kTiles;
  const int at_once = std::max(queue.processors * kBlocksAtOnce / parts, 1);
  launch(queue, delta_many_kernel, dim3(parts, std::min(max_items, at_once)), dim3(kBlock), 0, args, pass);
  return true;
}

}  // namespace prosa::backend::cuda
