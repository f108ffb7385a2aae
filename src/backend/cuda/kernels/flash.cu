// Attention of many rows: 64 queries of a head against blocks of 64 positions on the matrix units, f16 in, float32
// sums, the softmax beside. Blocks of positions begin at position 0 whatever the queries, so a row's bits do not depend
// on how a prompt is cut.
#include "backend/cuda/kernels/heads.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kQueries = 64;
constexpr int kThreads = 128;

/// A block a row: a warp makes a head at a time.
template <int kE>
__global__ void heads_kernel(AttentionArgs args, const ManyRow* rows, const ManySegment* segments, uint16_t* q) {
  wait_previous();
  signal_next();
  const AttentionShape& s = args.shape;
  const int index = static_cast<int>(blockIdx.x);
  const ManyRow row = rows[index];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float* const mine = args.rows + static_cast<int64_t>(index) * s.stride;
  const float* const rotary = args.rotary + static_cast<int64_t>(index) * s.rotary_dim;
  for (int h = warp; h < s.heads + s.kv_heads; h += static_cast<int>(blockDim.x) / 32) {
    if (h >= s.heads) {
      const int kv_head = h - s.heads;
      store_kv<kE>(args, mine + s.k_at + kv_head * s.head_dim, mine + s.v_at + kv_head * s.head_dim, rotary, kv_head,
                   row.position, segments[row.segment].kv[row.position / kKvSpan], lane);
      continue;
    }
    HeadPart<kE> x;
    HeadPart<kE> weight;
    x.load(mine + h * 2 * s.head_dim, s, lane);
    weight.load(args.q_norm, s, lane);
    make_head(x, weight, rotary, s, 1.0F / sqrtf(static_cast<float>(s.head_dim)), lane);
    store_halves(q + (static_cast<int64_t>(index) * s.heads + h) * s.head_dim, x, s, lane);
  }
}

/// [64][head_dim] halves from rows `stride` apart; rows from `valid` on and columns behind head_dim are zero.
template <int kDims>
__device__ inline void load_tile(uint16_t* to, const uint16_t* from, int64_t stride, int valid, int head_dim) {
  constexpr int kPitch = kDims + 8;
  for (int i = static_cast<int>(threadIdx.x); i < 64 * kDims / 8; i += kThreads) {
    const int row = i / (kDims / 8);
    const int col = i % (kDims / 8) * 8;
    const bool inside = row < valid && col < head_dim;
    copy_async(to + row * kPitch + col, inside ? from + row * stride + col : from, inside);
  }
}

/// kDims: head_dim rounded up to 32, 64, 128 or 256. head_dim must be a multiple of 8.
template <int kDims>
__global__ __launch_bounds__(kThreads) void flash_kernel(AttentionArgs args, const ManySegment* segments,
                                                         const uint16_t* q, __half* out, int out_stride) {
  constexpr int kPitch = kDims + 8;
  extern __shared__ __align__(16) uint16_t tiles[];
  uint16_t* const queries = tiles;
  uint16_t* const keys = tiles + 64 * kPitch;
  uint16_t* const values = keys + 64 * kPitch;
  wait_previous();
  signal_next();
  const AttentionShape& s = args.shape;
  const ManySegment segment = segments[blockIdx.z];
  const int tile = static_cast<int>(gridDim.x - 1 - blockIdx.x);  // the longest first
  if (tile * kQueries >= segment.count) return;
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / (s.heads / s.kv_heads);
  const int first = tile * kQueries;
  const int count = min(kQueries, segment.count - first);
  const int position = segment.position + first;  // of the first query
  const int spans = (position + count - 1) / kKvSpan + 1;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t q_stride = static_cast<int64_t>(s.heads) * s.head_dim;

  load_tile<kDims>(queries, q + (segment.first + first) * q_stride + head * s.head_dim, q_stride, count, s.head_dim);
  const auto load_kv = [&](uint16_t* to, int span, int which) {
    const int valid = min(kKvSpan, position + count - span * kKvSpan);
    load_tile<kDims>(to, segment.kv[span] + kv_at(s, args.layer, kv_head, which, 0), s.head_dim, valid, s.head_dim);
    copy_commit();
  };
  load_kv(keys, 0, 0);

  float o[kDims / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
  const uint32_t q_address = shared_address(queries + (warp * 16 + lane % 16) * kPitch + lane / 16 * 8);
  const uint32_t k_address = shared_address(keys + (lane % 8 + lane / 16 * 8) * kPitch + lane / 8 % 2 * 8);
  const uint32_t v_address = shared_address(values + lane % 16 * kPitch + lane / 16 * 8);
  for (int span = 0; span < spans; ++span) {
    load_kv(values, span, 1);
    copy_wait<1>();
    __syncthreads();
    float score[8][4] = {};
#pragma unroll
    for (int d = 0; d < kDims; d += 16) {
      uint32_t a[4];
      load_matrices(a, q_address + d * 2);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        uint32_t b[4];
        load_matrices(b, k_address + (n * 16 * kPitch + d) * 2);
        mma_f16(score[2 * n], a, b[0], b[1]);
        mma_f16(score[2 * n + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();
    if (span + 1 < spans) load_kv(keys, span + 1, 0);
    const int row = position + warp * 16 + lane / 4;  // and + 8: query positions
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = span * kKvSpan + n * 8 + lane % 4 * 2 + i % 2;
        if (key > row + i / 2 * 8) score[n][i] = -INFINITY;
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float best = top[half];
#pragma unroll
      for (int n = 0; n < 8; ++n) best = fmaxf(best, fmaxf(score[n][2 * half], score[n][2 * half + 1]));
      best = fmaxf(best, __shfl_xor_sync(0xffffffffU, best, 1));
      best = fmaxf(best, __shfl_xor_sync(0xffffffffU, best, 2));
      const float keep = __expf(top[half] - best);
      top[half] = best;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          score[n][i] = __expf(score[n][i] - best);
          sum += score[n][i];
        }
      }
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      total[half] = __fmaf_rn(total[half], keep, sum);
#pragma unroll
      for (int n = 0; n < kDims / 8; ++n) {
        o[n][2 * half] *= keep;
        o[n][2 * half + 1] *= keep;
      }
    }
    if (span + 1 < spans) {
      copy_wait<1>();
    } else {
      copy_wait<0>();
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const uint32_t a[4] = {pack_f16(score[2 * k][0], score[2 * k][1]), pack_f16(score[2 * k][2], score[2 * k][3]),
                             pack_f16(score[2 * k + 1][0], score[2 * k + 1][1]),
                             pack_f16(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kDims / 16; ++n) {
        uint32_t b[4];
        load_matrices_transposed(b, v_address + (k * 16 * kPitch + n * 16) * 2);
        mma_f16(o[2 * n], a, b[0], b[1]);
        mma_f16(o[2 * n + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int local = warp * 16 + lane / 4 + 8 * half;
    if (local >= count) continue;
    const int64_t row = segment.first + first + local;
    const float norm = 1.0F / total[half];
    const float* const gate = args.rows + row * s.stride + (head * 2 + 1) * s.head_dim;
    if (head == s.heads - 1) {  // columns that pad a row meet zero weights, but must be numbers
      for (int c = s.heads * s.head_dim + lane % 4; c < out_stride; c += 4)
        out[tiled_at(row, c, out_stride / kTileCols)] = __float2half(0.0F);
    }
#pragma unroll
    for (int n = 0; n < kDims / 8; ++n) {
      const int d = n * 8 + lane % 4 * 2;
      if (d >= s.head_dim) continue;
      *reinterpret_cast<uint32_t*>(out + tiled_at(row, head * s.head_dim + d, out_stride / kTileCols)) =
          pack_f16(o[n][2 * half] * norm * sigmoid(gate[d]), o[n][2 * half + 1] * norm * sigmoid(gate[d + 1]));
    }
  }
}

template <int kDims>
void start(const Queue& queue, const AttentionArgs& args, const ManySegment* segments, int segment_count, int longest,
           const void* q, void* out, int out_stride) {
  constexpr size_t kShared = 3 * 64 * (kDims + 8) * sizeof(uint16_t);
  allow_shared(flash_kernel<kDims>, kShared);
  launch(queue, flash_kernel<kDims>, dim3((longest + kQueries - 1) / kQueries, args.shape.heads, segment_count),
         dim3(kThreads), kShared, args, segments, static_cast<const uint16_t*>(q), static_cast<__half*>(out),
         out_stride);
}

}  // namespace

void launch_heads(const Queue& queue, const AttentionArgs& args, const ManyRow* rows, const ManySegment* segments,
                  int count, void* q) {
  const auto go = [&](auto* kernel) {
    launch(queue, kernel, dim3(count), dim3(32 * (args.shape.heads + args.shape.kv_heads > 8 ? 10 : 8)), 0, args, rows,
           segments, static_cast<uint16_t*>(q));
  };
  switch (lane_dims(args.shape.head_dim)) {
    case 1: return go(heads_kernel<1>);
    case 2: return go(heads_kernel<2>);
    case 4: return go(heads_kernel<4>);
    default: return go(heads_kernel<8>);
  }
}

void launch_flash(const Queue& queue, const AttentionArgs& args, const ManyRow* /*rows*/, const ManySegment* segments,
                  int segment_count, int longest, const void* q, void* out, int out_stride) {
  const int dims = args.shape.head_dim;
  if (dims <= 32) return start<32>(queue, args, segments, segment_count, longest, q, out, out_stride);
  if (dims <= 64) return start<64>(queue, args, segments, segment_count, longest, q, out, out_stride);
  if (dims <= 128) return start<128>(queue, args, segments, segment_count, longest, q, out, out_stride);
  start<256>(queue, args, segments, segment_count, longest, q, out, out_stride);
}

}  // namespace prosa::backend::cuda
