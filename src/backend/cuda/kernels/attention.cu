// Attention of single rows over any depth: positions are split into spans over blocks, then joined. The arithmetic:
// attention.cuh. So a row has the same bits in any company.
#include "backend/cuda/kernels/attention.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

/// kE: dims of a lane.
template <int kE>
__global__ __launch_bounds__(kSpanWarps * 32) void span_kernel(AttentionArgs args, const PassArgs* pass) {
  __shared__ SpanShared<kE> shared;
  wait_previous();
  signal_next();
  const AttentionShape& s = args.shape;
  const int index = static_cast<int>(blockIdx.z);
  if (index >= pass->rows) return;
  const RowArgs row = pass->row[index];
  int head0 = 0;
  const SpanUnit unit = span_unit(s, row.position, static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), head0);
  if (unit.begin > row.position) return;
  const float* const mine = args.rows + static_cast<int64_t>(index) * s.stride;
  const SpanRow source{mine + head0 * 2 * s.head_dim,
                       2 * s.head_dim,
                       mine + s.k_at + unit.kv_head * s.head_dim,
                       mine + s.v_at + unit.kv_head * s.head_dim,
                       args.rotary + static_cast<int64_t>(index) * s.rotary_dim,
                       s.stride,
                       s.rotary_dim};
  const int stride = s.head_dim + 2;
  float* const to = args.partial + ((static_cast<int64_t>(index) * s.heads + head0) * kMaxSpans + blockIdx.x) * stride;
  attend<kE, false>(
      args, row, source, unit, shared, static_cast<int>(threadIdx.x), [] { __syncthreads(); },
      [&](int h, int i, float x) { to[static_cast<int64_t>(h) * kMaxSpans * stride + i] = x; });
}

/// Joins the spans of a head, 64 dims a block, and multiplies with the gate.
__global__ __launch_bounds__(kJoinDims* kJoinParts) void join_kernel(AttentionArgs args, const PassArgs* pass) {
  __shared__ JoinShared shared;
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
  const int d = static_cast<int>(blockIdx.x) * kJoinDims + thread % kJoinDims;
  const float y = join_spans(
      s.head_dim, spans, d, shared, thread, [] { __syncthreads(); },
      [&](int first, int step, auto& x, int element) {
        constexpr int kCount = sizeof(x) / sizeof(x[0]);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          if (first + step * i < spans) x[i] = from[(first + step * i) * stride + element];
        }
      });
  if (thread >= kJoinDims || d >= s.head_dim) return;
  const float gate = args.rows[static_cast<int64_t>(index) * s.stride + (head * 2 + 1) * s.head_dim + d];
  args.out[static_cast<int64_t>(index) * args.out_stride + head * s.head_dim + d] = y * sigmoid(gate);
}

}  // namespace

void launch_attention(const Queue& queue, const AttentionArgs& args, const PassArgs* pass, int max_rows,
                      int max_spans) {
  const AttentionShape& s = args.shape;
  const int group = s.heads / s.kv_heads;
  const dim3 grid(max_spans, s.kv_heads * ((group + kSpanHeads - 1) / kSpanHeads), max_rows);
  const dim3 block(kSpanWarps * 32);
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
