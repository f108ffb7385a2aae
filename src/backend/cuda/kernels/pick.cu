// The best tokens of many rows without a copy of a row. Three steps in two kernels: the largest of each 256 logits; the
// k-th largest of those is a bound that at least k logits reach; only segments that reach it are looked at again, and
// what reaches it is sorted. Exact for every row; a row where more than kPickCapacity logits reach the bound is handed
// to the host.
//
// Changes and mask follow backend/candidates.h. Order of the log sum: lanes, segments, fixed.
#include <cfloat>

#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kSegmentLogits = 256;
constexpr int kSortThreads = 1024;
constexpr float kNone = -INFINITY;

struct SegmentBest {
  float largest;
  float sum;  // of exp(logit - largest)
};

/// A lane's eight logits of a segment, changed and masked: -inf is no candidate. Slot i is id first + 32 i + lane.
__device__ inline void load_segment(const PickArgs& ask, int vocab, int segment, int lane, float (&x)[8]) {
  const int first = segment * kSegmentLogits;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int id = first + 32 * i + lane;
    x[i] = id < vocab ? ask.logits[id] : kNone;
  }
  if (ask.change_count > 0) {
    int low = 0;
    int high = ask.change_count;
    while (low < high) {  // the first change at or behind `first`
      const int middle = (low + high) / 2;
      if (ask.change_ids[middle] < first) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (; low < ask.change_count && ask.change_ids[low] < first + kSegmentLogits; ++low) {
      const int at = ask.change_ids[low] - first;
      const float2 change = ask.changes[low];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (at != 32 * i + lane) continue;
        float v = x[i];
        if (change.x != 1.0F) v = v > 0 ? __fdiv_rn(v, change.x) : __fmul_rn(v, change.x);
        x[i] = change.y != 0.0F ? __fadd_rn(v, change.y) : v;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (ask.allowed != nullptr && first + 32 * i + lane < vocab && (ask.allowed[first / 32 + i] >> lane & 1U) == 0)
      x[i] = kNone;
    if (isnan(x[i])) x[i] = kNone;
  }
}

__global__ void segments_kernel(const PickArgs* asks, int vocab, SegmentBest* best, int segments) {
  wait_previous();
  const int segment = static_cast<int>(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (segment >= segments) return;
  const PickArgs ask = asks[blockIdx.y];
  float x[8];
  load_segment(ask, vocab, segment, lane, x);
  float largest = x[0];
#pragma unroll
  for (int i = 1; i < 8; ++i) largest = fmaxf(largest, x[i]);
  largest = max_group(largest, 32);
  float sum = 0;
  if (ask.log_sum != 0 && largest != kNone) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += x[i] == kNone ? 0.0F : expf(x[i] - largest);
    sum = sum_lanes(sum);
  }
  if (lane == 0) best[static_cast<int64_t>(blockIdx.y) * segments + segment] = {largest, sum};
}

/// Sorts `size` (a power of two) entries, the largest key first.
__device__ void sort_descending(uint64_t* keys, int size) {
  for (int width = 2; width <= size; width *= 2) {
    for (int step = width / 2; step > 0; step /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += kSortThreads) {
        const int a = i / step * 2 * step + i % step;
        const int b = a + step;
        const bool down = (a & width) == 0;
        const uint64_t x = keys[a];
        const uint64_t y = keys[b];
        if ((x < y) == down) {
          keys[a] = y;
          keys[b] = x;
        }
      }
      __syncthreads();
    }
  }
}

/// A key that sorts like a logit.
__device__ inline uint32_t ordered(float x) {
  const uint32_t bits = __float_as_uint(x == 0.0F ? 0.0F : x);  // -0 and 0 are equal logits
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

__device__ inline int power_of_two(int n) {
  int size = 32;
  while (size < n) size *= 2;
  return size;
}

/// A block an ask.
__global__ __launch_bounds__(kSortThreads) void pick_kernel(const PickArgs* asks, int vocab, const SegmentBest* all,
                                                            int segments, PickHead* heads, float2* answers) {
  extern __shared__ __align__(16) uint64_t by_segment[];  // [segments to a power of two], then what is found
  __shared__ int found;
  __shared__ double sums[32];
  __shared__ float top;
  wait_previous();
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp = thread / 32;
  const PickArgs ask = asks[blockIdx.x];
  const SegmentBest* const best = all + static_cast<int64_t>(blockIdx.x) * segments;

  int size = power_of_two(segments);
  uint64_t* const keys = by_segment + size;  // [kPickCapacity]
  for (int i = thread; i < size; i += kSortThreads)
    by_segment[i] =
        i < segments ? (static_cast<uint64_t>(ordered(best[i].largest)) << 32) | static_cast<uint32_t>(i) : 0;
  if (thread == 0) found = 0;
  __syncthreads();
  if (ask.k == 1) {
    uint64_t mine = 0;
    for (int i = thread; i < size; i += kSortThreads) mine = by_segment[i] > mine ? by_segment[i] : mine;
    for (int step = 16; step > 0; step /= 2) {
      const uint64_t other = __shfl_xor_sync(0xffffffffU, mine, step);
      mine = other > mine ? other : mine;
    }
    __syncthreads();
    if (lane == 0) keys[warp] = mine;
    __syncthreads();
    if (warp == 0) {
      mine = keys[lane];
      for (int step = 16; step > 0; step /= 2) {
        const uint64_t other = __shfl_xor_sync(0xffffffffU, mine, step);
        mine = other > mine ? other : mine;
      }
      if (lane == 0) keys[0] = mine;
    }
    __syncthreads();
  } else {
    sort_descending(by_segment, size);
  }
  const int bound_at = min(ask.k, segments) - 1;
  const uint32_t none = ordered(kNone);
  const uint64_t best_key = ask.k == 1 ? keys[0] : by_segment[0];
  uint32_t bound = static_cast<uint32_t>((ask.k == 1 ? best_key : by_segment[bound_at]) >> 32);
  if (ask.k > segments) bound = none + 1;  // fewer segments than wanted tokens: all of them
  if (bound <= none) bound = none + 1;
  if (thread == 0) top = best[static_cast<uint32_t>(best_key)].largest;
  __syncthreads();
  const float largest = top;

  double sum = 0;
  if (ask.log_sum != 0 && largest != kNone) {
    for (int i = thread; i < segments; i += kSortThreads) {
      if (best[i].largest != kNone)
        sum +=
            static_cast<double>(best[i].sum) * exp(static_cast<double>(best[i].largest) - static_cast<double>(largest));
    }
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, step);
    if (lane == 0) sums[warp] = sum;
  }
  __syncthreads();

  for (int i = warp; i < size; i += kSortThreads / 32) {
    const uint64_t key = by_segment[i];
    if (static_cast<uint32_t>(key >> 32) < bound) {
      if (ask.k == 1) continue;
      break;  // they are sorted
    }
    const int segment = static_cast<int>(static_cast<uint32_t>(key));
    float x[8];
    load_segment(ask, vocab, segment, lane, x);
#pragma unroll
    for (int slot = 0; slot < 8; ++slot) {
      const uint32_t value = ordered(x[slot]);
      if (value < bound) continue;
      const int at = atomicAdd(&found, 1);
      const auto id = static_cast<uint32_t>(segment * kSegmentLogits + 32 * slot + lane);
      if (at < kPickCapacity) keys[at] = (static_cast<uint64_t>(value) << 32) | ~id;  // of equal logits the lower id
    }
  }
  __syncthreads();
  const int count = found;
  PickHead head;
  if (ask.log_sum != 0) {
    double total = 0;
    for (int w = 0; w < 32; ++w) total += largest == kNone ? 0 : sums[w];
    head.log_sum = isinf(largest) ? static_cast<double>(largest) : static_cast<double>(largest) + log(total);
  }
  if (count > kPickCapacity) {
    head.count = -1;
    if (thread == 0) heads[blockIdx.x] = head;
    return;
  }
  size = power_of_two(count);
  for (int i = count + thread; i < size; i += kSortThreads) keys[i] = 0;
  __syncthreads();
  sort_descending(keys, size);
  head.count = min(count, ask.k);
  if (thread == 0) heads[blockIdx.x] = head;
  for (int i = thread; i < head.count; i += kSortThreads) {
    const uint32_t id = ~static_cast<uint32_t>(keys[i]);
    const auto key = static_cast<uint32_t>(keys[i] >> 32);
    const uint32_t bits = (key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key;
    answers[static_cast<int64_t>(blockIdx.x) * 256 + i] = {__uint_as_float(bits), __uint_as_float(id)};
  }
}

}  // namespace

void launch_pick(const Queue& queue, const PickArgs* asks, int count, int vocab, void* scratch, PickHead* heads,
                 float2* best) {
  const int segments = (vocab + kSegmentLogits - 1) / kSegmentLogits;
  auto* const segment_best = static_cast<SegmentBest*>(scratch);
  launch(queue, segments_kernel, dim3((segments + 7) / 8, count), dim3(256), 0, asks, vocab, segment_best, segments);
  int size = 32;
  while (size < segments) size *= 2;
  const size_t shared = static_cast<size_t>(size + kPickCapacity) * sizeof(uint64_t);
  allow_shared(pick_kernel, shared);
  launch(queue, pick_kernel, dim3(count), dim3(kSortThreads), shared, asks, vocab, segment_best, segments, heads, best);
}

}  // namespace prosa::backend::cuda
