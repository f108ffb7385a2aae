// A whole decode step of one row as one kernel: a block a multiprocessor, its weights through a ring that never stops,
// numbers from block to block as marked words (exchange.cuh). Every number is made by the functions that the other
// decode kernels use and every sum has their order, so a row has the bits that those give it.
//
// A layer's rows of words: hidden -> rows -> (partial ->) mixed -> middle -> inner -> hidden. Each is used again in the
// next layer. That is safe because whoever writes a row's next numbers has waited, by way of the rows between, for
// numbers that every reader of the old ones made after reading.
#pragma once

#include "backend/cuda/kernels/resident_products.cuh"
#include "backend/cuda/kernels/unpack.cuh"

namespace prosa::backend::cuda {

#ifdef PROSA_WGMMA
template <int kBits, bool kGroup32>
class ResidentBlock : ResidentProducts<kBits, kGroup32> {
  using Base = ResidentProducts<kBits, kGroup32>;
  using Base::args_;
  using Base::block_;
  using Base::blocks_;
  using Base::head;
  using Base::product;
  using Base::ring_;
  using Base::shared_;
  using Base::thread_;
  using Base::watch_;

 public:
  __device__ ResidentBlock(const ResidentArgs& args, BlockShared& shared, uint8_t* ring) : Base(args, shared, ring) {}

  /// The thread that fetches.
  __device__ void fetch() {
    for (int l = 0; l < args_.layer_count; ++l) {
      const ResidentLayer& layer = args_.layers[l];
      if (layer.delta != 0) {
        prefetch_state(layer);
      } else {
        prefetch_kv(layer);
      }
      feed(layer.delta != 0 ? kDeltaIn : kAttentionIn, layer.in);
      feed(layer.delta != 0 ? kDeltaOut : kAttentionOut, layer.out);
      feed(kGateUp, layer.gate_up);
      feed(kDown, layer.down);
    }
    if (args_.row.logits != nullptr) feed(kHead, args_.head_matrix);
  }

  /// All threads that compute. The stages of a layer share one place in the code: the kernel is short enough to stay
  /// where instructions are fetched from.
  __device__ void compute() {
    begun_ = clock64();
    embed();
    spent(kTimeBegin);
#pragma unroll 1
    for (int l = 0; l < args_.layer_count; ++l) {
      const ResidentLayer& layer = args_.layers[l];
      const bool delta = layer.delta != 0;
      const uint32_t mark = args_.first_mark + static_cast<uint32_t>(l) + 1;
#pragma unroll 1
      for (int stage = 0; stage < 4; ++stage) {
        product(layer, stage_of(layer, stage), mark);
        spent(stage == 0 ? kTimeIn : stage == 1 ? kTimeOut : stage == 2 ? kTimeGateUp : kTimeDown);
        if (stage > 0) continue;
        if (delta) {
          step(layer, mark);
        } else {
          attention(layer, mark);
        }
        spent(delta ? kTimeDelta : kTimeAttention);
      }
    }
    if (args_.row.logits != nullptr) head();
    spent(kTimeHead);
  }

 private:
  int64_t begun_ = 0;

  __device__ void spent(ResidentTime what) {
    if (args_.times == nullptr || block_ != 0 || thread_ != 0) return;
    const int64_t now = clock64();
    args_.times[what] += now - begun_;
    begun_ = now;
  }

  /// A block's 16 columns of a recurrent matrix, and its channels of the window: asked for while the products come.
  struct Unit {
    bool there = false;
    int head = 0;
    int tile = 0;
    int64_t matrix_at = 0;
    int64_t conv_at = 0;
    float4 state[kResidentKeys];
    Channel<kResidentTaps> channel;  // one a thread
    float rate = 0;
    float bias = 0;
  };

  __device__ void feed(ResidentKind kind, const ResidentMatrix& matrix) {
    cuda::feed<kBits, kGroup32>(ring_, shared_.stages[kind], matrix, block_, blocks_, watch_);
  }

  __device__ int64_t matrix_at(const DeltaLayer& layer) const {
    return layer.matrix_at + static_cast<int64_t>(block_) * args_.delta.key_dim * kStateColumns;
  }

  __device__ void prefetch_state(const ResidentLayer& layer) const {
    const DeltaShape& s = args_.delta;
    if (block_ >= s.value_heads * s.value_tiles) return;
    const DeltaLayer& small = args_.delta_layers[layer.mixer];
    bulk_prefetch(args_.item.found + matrix_at(small), s.key_dim * kStateColumns * 4);
    const int head = block_ / s.value_tiles;
    const int tile = block_ % s.value_tiles;
    for (int part = 0; part < 3; ++part) {
      const int dims = kResidentKeys * 32;
      const int channel = delta_channel(s, dims, head, tile, part * dims);
      const int bytes = (part < 2 ? s.key_dim : kStateColumns) * 4;
      for (int tap = 0; tap < kResidentTaps; ++tap) {
        const int64_t at = static_cast<int64_t>(tap) * s.conv_dim + channel;
        bulk_prefetch(args_.item.found + small.conv_at + at, bytes);
        bulk_prefetch(small.conv + at, bytes);
      }
    }
  }

  __device__ int span_parts() const {
    const AttentionShape& s = args_.attention;
    return s.kv_heads * ((s.heads / s.kv_heads + kSpanHeads - 1) / kSpanHeads);
  }
  __device__ int spans() const { return args_.row.position / span_of(args_.row.position) + 1; }

  __device__ void prefetch_kv(const ResidentLayer& layer) const {
    const AttentionShape& s = args_.attention;
    const int parts = span_parts();
    for (int u = block_; u < spans() * parts; u += blocks_) {
      int head0 = 0;
      const SpanUnit unit = span_unit(s, args_.row.position, u / parts, u % parts, head0);
      for (int p = unit.begin; p < unit.end; p += kKvSpan) {
        const uint16_t* const block = args_.row.kv[p / kKvSpan];
        const int bytes = min(kKvSpan, unit.end - p) * s.head_dim * 2;
        bulk_prefetch(block + kv_at(s, layer.mixer, unit.kv_head, 0, p), bytes);
        bulk_prefetch(block + kv_at(s, layer.mixer, unit.kv_head, 1, p), bytes);
      }
    }
  }

  /// The token's embedding, a few columns a block; the sines of its position, in every block.
  __device__ void embed() {
    for (int col = thread_ * blocks_ + block_; col < shared_.stages[kDown].limit; col += kResidentThreads * blocks_)
      publish(args_.hidden + col, weight_at(args_.embedding, args_.row.token, col), args_.first_mark);
    const int half = args_.attention.rotary_dim / 2;
    const int i = thread_ - kResidentThreads / 2;
    if (args_.frequency == nullptr || i < 0 || i >= half) return;
    const float2 turn = turn_of(args_.row.position, args_.frequency[i]);
    shared_.rotary[i] = turn.x;
    shared_.rotary[half + i] = turn.y;
  }

  __device__ const ResidentStage& stage_of(const ResidentLayer& layer, int stage) const {
    const bool delta = layer.delta != 0;
    if (stage == 0) return shared_.stages[delta ? kDeltaIn : kAttentionIn];
    if (stage == 1) return shared_.stages[delta ? kDeltaOut : kAttentionOut];
    return shared_.stages[stage == 2 ? kGateUp : kDown];
  }
  __device__ void load(Unit& unit, const ResidentLayer& layer) {
    const DeltaShape& s = args_.delta;
    unit.there = block_ < s.value_heads * s.value_tiles;
    if (!unit.there) return;
    const DeltaLayer& small = args_.delta_layers[layer.mixer];
    unit.head = block_ / s.value_tiles;
    unit.tile = block_ % s.value_tiles;
    unit.matrix_at = matrix_at(small);
    unit.conv_at = small.conv_at;
    if (thread_ < kDeltaThreads) {
      const float* const found = args_.item.found + unit.matrix_at;
#pragma unroll
      for (int m = 0; m < kResidentKeys; ++m) {
        const int i = thread_ / 4 + 32 * m;
        unit.state[m] = {0, 0, 0, 0};
        if (i < s.key_dim)
          unit.state[m] = *reinterpret_cast<const float4*>(found + i * kStateColumns + thread_ % 4 * 4);
      }
    }
    const int at = delta_channel(s, kResidentKeys * 32, unit.head, unit.tile, thread_);
    if (at >= 0) unit.channel.load(s, small, args_.item.found + small.conv_at, args_.item.position, at);
    unit.rate = small.rate[unit.head];
    unit.bias = small.dt_bias[unit.head];
  }

  __device__ void step(const ResidentLayer& layer, uint32_t mark) {
    const DeltaShape& s = args_.delta;
    Unit unit;
    load(unit, layer);
    if (!unit.there) return;
    auto& shared = shared_.delta;
    constexpr int kChannels = 2 * kResidentKeys * 32 + kStateColumns;
    constexpr int kDecayThread = kResidentThreads - 32;
    constexpr int kBetaThread = kResidentThreads - 64;
    static_assert(kBetaThread >= kChannels, "gates have threads of their own");
    if (thread_ == kDecayThread) shared.gates[0] = await(args_.rows + s.a_at + unit.head, mark, watch_);
    if (thread_ == kBetaThread) shared.gates[1] = await(args_.rows + s.b_at + unit.head, mark, watch_);
    float x = 0;
    if (thread_ < kChannels) {
      if (unit.channel.at >= 0) x = await(args_.rows + unit.channel.at, mark, watch_);
      if (unit.channel.at >= 0) keep_window(unit, x);
      shared.channels[thread_] = unit.channel.at >= 0 ? unit.channel.step(x) : 0.0F;
    }
    meet_all();
    if (thread_ >= kDeltaThreads) return;
    float keys[kResidentKeys];
    delta_sums(shared, unit.state, keys, thread_);
    if (thread_ == 96) shared.gates[0] = decay_of(shared.gates[0], unit.rate, unit.bias);
    if (thread_ == 64) shared.gates[1] = beta_of(shared.gates[1]);
    meet_delta();
    const float4 out = delta_update(shared, unit.state, keys, s.key_dim, thread_);
    if (thread_ < 4) {
      const float each[4] = {out.x, out.y, out.z, out.w};
      const int column = unit.tile * kStateColumns + thread_ * 4;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (column + c < s.value_dim) publish(args_.mixed + unit.head * s.value_dim + column + c, each[c], mark);
      }
    }
    float* const left = args_.item.left + unit.matrix_at;
#pragma unroll
    for (int m = 0; m < kResidentKeys; ++m) {
      const int i = thread_ / 4 + 32 * m;
      if (i < s.key_dim) *reinterpret_cast<float4*>(left + i * kStateColumns + thread_ % 4 * 4) = unit.state[m];
    }
  }

  /// The new input takes the slot of the oldest, which nobody reads any more. Several units have the same keys: one of
  /// them writes.
  __device__ void keep_window(const Unit& unit, float x) {
    const DeltaShape& s = args_.delta;
    const bool value = thread_ >= 2 * kResidentKeys * 32;
    if (!value && (unit.tile != 0 || unit.head % (s.value_heads / s.key_heads) != 0)) return;
    float* const left = args_.item.left + unit.conv_at + unit.channel.at;
    left[static_cast<int64_t>(args_.item.position % kResidentTaps) * s.conv_dim] = x;
    if (args_.item.left == args_.item.found) return;
#pragma unroll
    for (int tap = 0; tap + 1 < kResidentTaps; ++tap)
      left[static_cast<int64_t>((args_.item.position + tap + 1) % kResidentTaps) * s.conv_dim] = unit.channel.past[tap];
  }

  __device__ void attention(const ResidentLayer& layer, uint32_t mark) {
    const AttentionShape& s = args_.attention;
    AttentionArgs attention;
    attention.shape = s;
    attention.layer = layer.mixer;
    attention.q_norm = layer.q_norm;
    attention.k_norm = layer.k_norm;
    const int parts = span_parts();
    const int span_count = spans();
    const int stride = s.head_dim + 2;
    for (int u = block_; u < span_count * parts; u += blocks_) {
      int head0 = 0;
      const SpanUnit unit = span_unit(s, args_.row.position, u / parts, u % parts, head0);
      meet_all();  // the unit before has read its heads
      for (int i = thread_ * 4; i < (kSpanHeads + 2) * s.head_dim; i += kResidentThreads * 4) {
        const int which = i / s.head_dim;
        int at = which < kSpanHeads ? (head0 + which) * 2 * s.head_dim : s.k_at + unit.kv_head * s.head_dim;
        if (which == kSpanHeads + 1) at = s.v_at + unit.kv_head * s.head_dim;
        if (which < kSpanHeads && which >= unit.heads) continue;
        *reinterpret_cast<float4*>(shared_.heads + i) =
            await_four(args_.rows + at, i % s.head_dim, s.head_dim, mark, watch_);
      }
      meet_all();
      if (thread_ >= kSpanWarps * 32) continue;
      const float* const heads = shared_.heads;
      const SpanRow source{
          heads, s.head_dim, heads + kSpanHeads * s.head_dim, heads + (kSpanHeads + 1) * s.head_dim, shared_.rotary,
          0,     0};
      uint64_t* const to = args_.partial + (static_cast<int64_t>(head0) * kMaxSpans + u / parts) * stride;
      attend<kResidentDims, true>(
          attention, args_.row, source, unit, shared_.span, thread_, [] { meet_span(); },
          [&](int h, int i, float x) { publish(to + static_cast<int64_t>(h) * kMaxSpans * stride + i, x, mark); });
    }
    if (thread_ < kJoinDims * kJoinParts) join(span_count, stride, mark);
  }

  __device__ void join(int span_count, int stride, uint32_t mark) {
    const AttentionShape& s = args_.attention;
    const int parts = (s.head_dim + kJoinDims - 1) / kJoinDims;
    for (int u = block_; u < s.heads * parts; u += blocks_) {
      const int head = u / parts;
      const int d = u % parts * kJoinDims + thread_ % kJoinDims;
      const uint64_t* const from = args_.partial + static_cast<int64_t>(head) * kMaxSpans * stride;
      const float y = join_spans(
          s.head_dim, span_count, d, shared_.join, thread_, [] { meet_span(); },
          [&](int first, int step, auto& x, int element) {
            constexpr int kCount = sizeof(x) / sizeof(x[0]);
            await_some<kCount>(from + static_cast<int64_t>(first) * stride + element,
                               static_cast<int64_t>(step) * stride, (span_count - first + step - 1) / step, mark,
                               watch_, x);
          });
      if (thread_ < kJoinDims && d < s.head_dim) {
        const float gate = await(args_.rows + (head * 2 + 1) * s.head_dim + d, mark, watch_);
        publish(args_.mixed + head * s.head_dim + d, y * sigmoid(gate), mark);
      }
      meet_span();
    }
  }
};

/// Once, before a block's threads meet and part.
__device__ inline void prepare_block(const ResidentArgs& args, BlockShared& shared) {
  if (threadIdx.x < kResidentKinds) shared.stages[threadIdx.x] = args.stages[threadIdx.x];
  if (threadIdx.x != kResidentThreads) return;
  for (int i = 0; i < args.slots; ++i) {
    barrier_init(shared_address(shared.full + i), 1);
    barrier_init(shared_address(shared.empty + i), kPieceShares);
  }
  barrier_fence();
}

#endif
}  // namespace prosa::backend::cuda
