// Attention of single rows over any depth: positions are split into spans over blocks, then joined. A span's length
// depends on the row's position alone, and every sum has one order, so a row has the same bits in any company.
#include "backend/cuda/kernels/heads.cuh"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kHeads = 4;  // query heads of a block, all of one key head
constexpr int kWarps = 8;
constexpr int kAhead = 4;  // positions of a warp at a time
constexpr float kNone = -INFINITY;

__device__ inline int span_of(int position) {
  int span = kKvSpan;
  while ((position + span) / span > kMaxSpans) span *= 2;
  return span;
}

template <int kE>
struct Halves {
  uint16_t at[kE];
  __device__ void load(const uint16_t* p) {
    if constexpr (kE == 8) *reinterpret_cast<uint4*>(at) = *reinterpret_cast<const uint4*>(p);
    if constexpr (kE == 4) *reinterpret_cast<uint2*>(at) = *reinterpret_cast<const uint2*>(p);
    if constexpr (kE == 2) *reinterpret_cast<uint32_t*>(at) = *reinterpret_cast<const uint32_t*>(p);
    if constexpr (kE == 1) at[0] = *p;
  }
  __device__ float value(int i) const { return __half2float(*reinterpret_cast<const __half*>(&at[i])); }
};

/// kE: dims of a lane.
template <int kE>
__global__ __launch_bounds__(kWarps * 32) void span_kernel(AttentionArgs args, const PassArgs* pass) {
  constexpr int kDims = kE * 32;
  __shared__ float queries[kHeads][kDims];
  __shared__ __align__(16) float scratch[kWarps][kHeads][kDims];
  __shared__ float largest[kWarps][kHeads];
  __shared__ float totals[kWarps][kHeads];
  wait_previous();
  signal_next();
  const AttentionShape& s = args.shape;
  const int index = static_cast<int>(blockIdx.z);
  if (index >= pass->rows) return;
  const RowArgs row = pass->row[index];
  const int span = span_of(row.position);
  const int begin = static_cast<int>(blockIdx.x) * span;
  if (begin > row.position) return;
  const int end = min(begin + span, row.position + 1);
  const int group = s.heads / s.kv_heads;
  const int parts = (group + kHeads - 1) / kHeads;
  const int kv_head = static_cast<int>(blockIdx.y) / parts;
  const int head0 = kv_head * group + static_cast<int>(blockIdx.y) % parts * kHeads;
  const int heads = min(kHeads, (kv_head + 1) * group - head0);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  const float* const mine = args.rows + static_cast<int64_t>(index) * s.stride;
  const float* const rotary = args.rotary + static_cast<int64_t>(index) * s.rotary_dim;
  if (warp < kHeads) {
    if (warp < heads) {
      HeadPart<kE> x;
      HeadPart<kE> weight;
      x.load(mine + (head0 + warp) * 2 * s.head_dim, s, lane);
      weight.load(args.q_norm, s, lane);
      make_head(x, weight, rotary, s, 1.0F / sqrtf(static_cast<float>(s.head_dim)), lane);
#pragma unroll
      for (int e = 0; e < kE; ++e) queries[warp][lane * kE + e] = x.at[e];
    }
  } else {
    // Keys of this pass's own rows, up to this one: each block that reads one makes it, all the same bits.
    for (int p = max(begin, row.first_position) + warp - kHeads; p < end; p += kWarps - kHeads) {
      const int back = row.position - p;
      store_kv<kE>(args, mine - static_cast<int64_t>(back) * s.stride,
                   rotary - static_cast<int64_t>(back) * s.rotary_dim, kv_head, p,
                   const_cast<uint16_t*>(row.kv[p / kKvSpan]), lane);
    }
  }
  __syncthreads();

  const int d0 = lane * kE;
  const bool inside = d0 < s.head_dim;
  float q[kHeads][kE];
  float out[kHeads][kE] = {};
  float top[kHeads];
  float total[kHeads] = {};
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    top[h] = kNone;
#pragma unroll
    for (int e = 0; e < kE; ++e) q[h][e] = inside && h < heads ? queries[h][d0 + e] : 0.0F;
  }
  for (int p0 = begin + warp * kAhead; p0 < end; p0 += kWarps * kAhead) {
    const uint16_t* const block = row.kv[p0 / kKvSpan];
    Halves<kE> key[kAhead];
    Halves<kE> value[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      const int p = min(p0 + u, end - 1);
      key[u].load(block + kv_at(s, args.layer, kv_head, 0, p) + (inside ? d0 : 0));
      value[u].load(block + kv_at(s, args.layer, kv_head, 1, p) + (inside ? d0 : 0));
    }
    float score[kHeads][kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int e = 0; e < kE; ++e) dot = __fmaf_rn(q[h][e], key[u].value(e), dot);
        score[h][u] = dot;
      }
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) score[h][u] += __shfl_xor_sync(0xffffffffU, score[h][u], step);
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float best = top[h];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        if (p0 + u < end) best = fmaxf(best, score[h][u]);
      }
      const float keep = __expf(top[h] - best);
      top[h] = best;
      total[h] *= keep;
#pragma unroll
      for (int e = 0; e < kE; ++e) out[h][e] *= keep;
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const float weight = p0 + u < end ? __expf(score[h][u] - best) : 0.0F;
        total[h] += weight;
#pragma unroll
        for (int e = 0; e < kE; ++e) out[h][e] = __fmaf_rn(weight, value[u].value(e), out[h][e]);
      }
    }
  }
  if (lane == 0) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      largest[warp][h] = top[h];
      totals[warp][h] = total[h];
    }
  }
  __syncthreads();  // scratch has been the keys' until here
  if (inside) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
#pragma unroll
      for (int e = 0; e < kE; ++e) scratch[warp][h][d0 + e] = out[h][e];
    }
  }
  __syncthreads();
  const int stride = s.head_dim + 2;
  for (int h = warp % kHeads; h < heads; h += kHeads) {  // two warps a head
    float best = kNone;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) best = fmaxf(best, largest[w][h]);
    float* const to =
        args.partial + ((static_cast<int64_t>(index) * s.heads + head0 + h) * kMaxSpans + blockIdx.x) * stride;
    float sum = 0;
    float factor[kWarps];
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      factor[w] = largest[w][h] == kNone ? 0.0F : __expf(largest[w][h] - best);
      sum = __fmaf_rn(factor[w], totals[w][h], sum);
    }
    for (int d = lane + warp / kHeads * 32; d < s.head_dim; d += 64) {
      float y = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) y = __fmaf_rn(factor[w], scratch[w][h][d], y);
      to[d] = y;
    }
    if (lane == 0 && warp < kHeads) {
      to[s.head_dim] = best;
      to[s.head_dim + 1] = sum;
    }
  }
}

constexpr int kJoinDims = 64;
constexpr int kJoinParts = 4;

/// Joins the spans of a head, 64 dims a block, and multiplies with the gate.
__global__ __launch_bounds__(kJoinDims* kJoinParts) void join_kernel(AttentionArgs args, const PassArgs* pass) {
  __shared__ float factor[kMaxSpans];
  __shared__ float sums[kJoinParts][kJoinDims];
  __shared__ float norm;
  wait_previous();
  signal_next();
  const AttentionShape& s = args.shape;
  const int index = static_cast<int>(blockIdx.z);
  if (index >= pass->rows) return;
  const int head = static_cast<int>(blockIdx.y);
  const int position = pass->row[index].position;
  const int spans = position / span_of(position) + 1;
  const int stride = s.head_dim + 2;
  const float* const from = args.partial + (static_cast<int64_t>(index) * s.heads + head) * kMaxSpans * stride;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 32) {
    float best = kNone;
    for (int i = thread; i < spans; i += 32) best = fmaxf(best, from[i * stride + s.head_dim]);
    for (int step = 16; step > 0; step /= 2) best = fmaxf(best, __shfl_xor_sync(0xffffffffU, best, step));
    float total = 0;
    for (int i = thread; i < spans; i += 32) {
      factor[i] = __expf(from[i * stride + s.head_dim] - best);
      total = __fmaf_rn(factor[i], from[i * stride + s.head_dim + 1], total);
    }
    total = sum_lanes(total);
    if (thread == 0) norm = 1.0F / total;
  }
  __syncthreads();
  const int d = static_cast<int>(blockIdx.x) * kJoinDims + thread % kJoinDims;
  const int part = thread / kJoinDims;
  float y = 0;
  if (d < s.head_dim) {
    for (int i = part; i < spans; i += kJoinParts) y = __fmaf_rn(factor[i], from[i * stride + d], y);
  }
  sums[part][thread % kJoinDims] = y;
  __syncthreads();
  if (part != 0 || d >= s.head_dim) return;
  y = ((sums[0][thread] + sums[1][thread]) + sums[2][thread]) + sums[3][thread];
  const float gate = args.rows[static_cast<int64_t>(index) * s.stride + (head * 2 + 1) * s.head_dim + d];
  args.out[static_cast<int64_t>(index) * args.out_stride + head * s.head_dim + d] = y * norm * sigmoid(gate);
}

}  // namespace

void launch_attention(const Queue& queue, const AttentionArgs& args, const PassArgs* pass, int max_rows,
                      int max_spans) {
  const AttentionShape& s = args.shape;
  const int group = s.heads / s.kv_heads;
  const dim3 grid(max_spans, s.kv_heads * ((group + kHeads - 1) / kHeads), max_rows);
  const dim3 block(kWarps * 32);
  if (s.head_dim <= 32) {
    launch(queue, span_kernel<1>, grid, block, 0, args, pass);
  } else if (s.head_dim <= 64) {
    launch(queue, span_kernel<2>, grid, block, 0, args, pass);
  } else if (s.head_dim <= 128) {
    launch(queue, span_kernel<4>, grid, block, 0, args, pass);
  } else {
    launch(queue, span_kernel<8>, grid, block, 0, args, pass);
  }
  launch(queue, join_kernel, dim3((s.head_dim + kJoinDims - 1) / kJoinDims, s.heads, max_rows),
         dim3(kJoinDims * kJoinParts), 0, args, pass);
}

}  // namespace prosa::backend::cuda
