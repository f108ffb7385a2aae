// Attention of a single row over a span of positions by 256 threads, and the join of a row's spans. Every kernel that
// decodes uses them, so the bits are the same in all of them.
//
// A span's length depends on the row's position alone. Order of a sum: a warp's positions in steps of four, eight warps
// in order; spans by fours, then the four in order.
#pragma once

#include "backend/cuda/kernels/heads.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

inline constexpr int kSpanHeads = 4;  // query heads of a unit, all of one key head
inline constexpr int kSpanWarps = 8;
inline constexpr int kSpanAhead = 4;  // positions of a warp at a time
inline constexpr float kNoScore = -INFINITY;

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

/// Where a unit finds the row's products: the queries of its heads, the key and the value of its key head; and those of
/// the rows of the same pass before it, `stride` floats back each.
struct SpanRow {
  const float* query;  // of the unit's first head
  int query_stride;
  const float* key;
  const float* value;
  const float* rotary;
  int stride;
  int rotary_stride;
};

/// What a unit works on.
struct SpanUnit {
  int kv_head;
  int heads;  // of at most kSpanHeads
  int begin;  // positions
  int end;
};

/// Unit `part` of the units that divide the heads between them, over span number `index`.
__device__ inline SpanUnit span_unit(const AttentionShape& s, int position, int index, int part, int& head0) {
  const int group = s.heads / s.kv_heads;
  const int parts = (group + kSpanHeads - 1) / kSpanHeads;
  const int span = span_of(position);
  SpanUnit unit;
  unit.kv_head = part / parts;
  head0 = unit.kv_head * group + part % parts * kSpanHeads;
  unit.heads = min(kSpanHeads, (unit.kv_head + 1) * group - head0);
  unit.begin = index * span;
  unit.end = min(unit.begin + span, position + 1);
  return unit;
}

template <int kE>
struct SpanShared {
  alignas(16) float queries[kSpanHeads][kE * 32];
  alignas(16) float scratch[kSpanWarps][kSpanHeads][kE * 32];
  float largest[kSpanWarps][kSpanHeads];
  float totals[kSpanWarps][kSpanHeads];
};

/// kE: dims of a lane. kTight: for a kernel of few registers; the same numbers. sync(): a barrier of the 256 threads.
/// put(h, i, x): element i of the unit's head h: its dims, then the largest score and the sum of the weights.
template <int kE, bool kTight, typename Sync, typename Put>
__device__ inline void attend(const AttentionArgs& args, const RowArgs& row, const SpanRow& source,
                              const SpanUnit& unit, SpanShared<kE>& shared, int thread, const Sync& sync,
                              const Put& put) {
  const AttentionShape& s = args.shape;
  const int begin = unit.begin;
  const int end = unit.end;
  const int kv_head = unit.kv_head;
  const int heads = unit.heads;
  const int warp = thread / 32;
  const int lane = thread % 32;
  if (warp < kSpanHeads) {
    if (warp < heads) {
      HeadPart<kE> x;
      HeadPart<kE> weight;
      x.load(source.query + warp * source.query_stride, s, lane);
      weight.load(args.q_norm, s, lane);
      make_head(x, weight, source.rotary, s, 1.0F / sqrtf(static_cast<float>(s.head_dim)), lane);
#pragma unroll
      for (int e = 0; e < kE; ++e) shared.queries[warp][lane * kE + e] = x.at[e];
    }
  } else {
    // Keys of this pass's own rows, up to this one: each unit that reads one makes it, all the same bits.
    for (int p = max(begin, row.first_position) + warp - kSpanHeads; p < end; p += kSpanWarps - kSpanHeads) {
      const int64_t back = row.position - p;
      store_kv<kE>(args, source.key - back * source.stride, source.value - back * source.stride,
                   source.rotary - back * source.rotary_stride, kv_head, p, const_cast<uint16_t*>(row.kv[p / kKvSpan]),
                   lane);
    }
  }
  sync();

  const int d0 = lane * kE;
  const bool inside = d0 < s.head_dim;
  float q[kSpanHeads][kE];
  float out[kSpanHeads][kE] = {};
  float top[kSpanHeads];
  float total[kSpanHeads] = {};
#pragma unroll
  for (int h = 0; h < kSpanHeads; ++h) {
    top[h] = kNoScore;
#pragma unroll
    for (int e = 0; e < kE; ++e) q[h][e] = !kTight && inside && h < heads ? shared.queries[h][d0 + e] : 0.0F;
  }
  for (int p0 = begin + warp * kSpanAhead; p0 < end; p0 += kSpanWarps * kSpanAhead) {
    const uint16_t* const block = row.kv[p0 / kKvSpan];
    Halves<kE> key[kSpanAhead];
    Halves<kE> value[kSpanAhead];
#pragma unroll
    for (int u = 0; u < kSpanAhead; ++u) {
      const int p = min(p0 + u, end - 1);
      key[u].load(block + kv_at(s, args.layer, kv_head, 0, p) + (inside ? d0 : 0));
      if (!kTight) value[u].load(block + kv_at(s, args.layer, kv_head, 1, p) + (inside ? d0 : 0));
    }
    float score[kSpanHeads][kSpanAhead];
#pragma unroll
    for (int h = 0; h < kSpanHeads; ++h) {
      if constexpr (kTight) {
#pragma unroll
        for (int e = 0; e < kE; e += 4) {
          const float4 four = load_shared_four(&shared.queries[h][d0 + e]);
          const bool there = inside && h < heads;
          q[h][e] = there ? four.x : 0.0F, q[h][e + 1] = there ? four.y : 0.0F;
          q[h][e + 2] = there ? four.z : 0.0F, q[h][e + 3] = there ? four.w : 0.0F;
        }
      }
#pragma unroll
      for (int u = 0; u < kSpanAhead; ++u) {
        float dot = 0;
#pragma unroll
        for (int e = 0; e < kE; ++e) dot = __fmaf_rn(q[h][e], key[u].value(e), dot);
        score[h][u] = dot;
      }
    }
    if (kTight) {
#pragma unroll
      for (int u = 0; u < kSpanAhead; ++u)
        value[u].load(block + kv_at(s, args.layer, kv_head, 1, min(p0 + u, end - 1)) + (inside ? d0 : 0));
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
#pragma unroll
      for (int u = 0; u < kSpanAhead; ++u) {
#pragma unroll
        for (int h = 0; h < kSpanHeads; ++h) score[h][u] += __shfl_xor_sync(0xffffffffU, score[h][u], step);
      }
    }
#pragma unroll
    for (int h = 0; h < kSpanHeads; ++h) {
      float best = top[h];
#pragma unroll
      for (int u = 0; u < kSpanAhead; ++u) {
        if (p0 + u < end) best = fmaxf(best, score[h][u]);
      }
      const float keep = __expf(top[h] - best);
      top[h] = best;
      total[h] *= keep;
#pragma unroll
      for (int e = 0; e < kE; ++e) out[h][e] *= keep;
#pragma unroll
      for (int u = 0; u < kSpanAhead; ++u) {
        const float weight = p0 + u < end ? __expf(score[h][u] - best) : 0.0F;
        total[h] += weight;
#pragma unroll
        for (int e = 0; e < kE; ++e) out[h][e] = __fmaf_rn(weight, value[u].value(e), out[h][e]);
      }
    }
  }
  if (lane == 0) {
#pragma unroll
    for (int h = 0; h < kSpanHeads; ++h) {
      shared.largest[warp][h] = top[h];
      shared.totals[warp][h] = total[h];
    }
  }
  sync();
  if (inside) {
#pragma unroll
    for (int h = 0; h < kSpanHeads; ++h) {
#pragma unroll
      for (int e = 0; e < kE; ++e) shared.scratch[warp][h][d0 + e] = out[h][e];
    }
  }
  sync();
  for (int h = warp % kSpanHeads; h < heads; h += kSpanHeads) {  // two warps a head
    float best = kNoScore;
#pragma unroll
    for (int w = 0; w < kSpanWarps; ++w) best = fmaxf(best, shared.largest[w][h]);
    float sum = 0;
    float factor[kSpanWarps];
#pragma unroll
    for (int w = 0; w < kSpanWarps; ++w) {
      factor[w] = shared.largest[w][h] == kNoScore ? 0.0F : __expf(shared.largest[w][h] - best);
      sum = __fmaf_rn(factor[w], shared.totals[w][h], sum);
    }
    for (int d = lane + warp / kSpanHeads * 32; d < s.head_dim; d += 64) {
      float y = 0;
#pragma unroll
      for (int w = 0; w < kSpanWarps; ++w) y = __fmaf_rn(factor[w], shared.scratch[w][h][d], y);
      put(h, d, y);
    }
    if (lane == 0 && warp < kSpanHeads) {
      put(h, s.head_dim, best);
      put(h, s.head_dim + 1, sum);
    }
  }
}

inline constexpr int kJoinDims = 64;
inline constexpr int kJoinParts = 4;
inline constexpr int kJoinAhead = 8;  // spans that a thread asks for together

struct JoinShared {
  float factor[kMaxSpans];
  float sums[kJoinParts][kJoinDims];
  float norm;
};

/// 64 dims of a head from its spans, by 256 threads; thread t < 64 returns that of dim d = dim0 + t. sync(): a barrier
/// of them. get(first, step, x, element): x[i] = an element of span first + step * i, for the spans that there are.
template <typename Sync, typename Get>
__device__ inline float join_spans(int head_dim, int span_count, int d, JoinShared& shared, int thread,
                                   const Sync& sync, const Get& get) {
  constexpr int kMine = kMaxSpans / 32;
  if (thread < 32) {
    float top[kMine];
    float sum[kMine];
    get(thread, 32, top, head_dim);
    get(thread, 32, sum, head_dim + 1);
    float best = kNoScore;
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      if (thread + 32 * i < span_count) best = fmaxf(best, top[i]);
    }
    for (int step = 16; step > 0; step /= 2) best = fmaxf(best, __shfl_xor_sync(0xffffffffU, best, step));
    float total = 0;
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      if (thread + 32 * i >= span_count) continue;
      const float factor = __expf(top[i] - best);
      shared.factor[thread + 32 * i] = factor;
      total = __fmaf_rn(factor, sum[i], total);
    }
    total = sum_lanes(total);
    if (thread == 0) shared.norm = 1.0F / total;
  }
  sync();
  const int part = thread / kJoinDims;
  float y = 0;
  if (d < head_dim) {
    for (int first = part; first < span_count; first += kJoinAhead * kJoinParts) {
      float x[kJoinAhead];
      get(first, kJoinParts, x, d);
#pragma unroll
      for (int i = 0; i < kJoinAhead; ++i) {
        if (first + i * kJoinParts < span_count) y = __fmaf_rn(shared.factor[first + i * kJoinParts], x[i], y);
      }
    }
  }
  shared.sums[part][thread % kJoinDims] = y;
  sync();
  if (part != 0) return 0;
  y = ((shared.sums[0][thread] + shared.sums[1][thread]) + shared.sums[2][thread]) + shared.sums[3][thread];
  return y * shared.norm;
}

}  // namespace prosa::backend::cuda
