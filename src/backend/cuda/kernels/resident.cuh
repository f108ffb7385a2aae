// A whole decode step of one row as one kernel: a block a multiprocessor, its weights through a ring that never stops,
// numbers from block to block as marked words (exchange.cuh). Every number is made by the functions that the other
// decode kernels use and every sum has their order, so a row has the bits that those give it.
//
// A layer's rows of words: hidden -> rows -> (partial ->) mixed -> middle -> inner -> hidden. Each is used again in the
// next layer. That is safe because whoever writes a row's next numbers has waited, by way of the rows between, for
// numbers that every reader of the old ones made after reading.
#pragma once

#include "backend/cuda/kernels/attention.cuh"
#include "backend/cuda/kernels/delta.cuh"
#include "backend/cuda/kernels/gemv.cuh"
#include "backend/cuda/kernels/ring.cuh"
#include "backend/cuda/kernels/unpack.cuh"

namespace prosa::backend::cuda {

inline constexpr int kResidentDims = 8;  // of a head, a lane's: heads of up to 256
inline constexpr int kResidentKeys = 4;  // rows of a state in a thread: keys of up to 128
inline constexpr int kResidentTaps = 4;
inline constexpr int kPlaneStride = kMaxResidentTiles * kTileCols + 64;  // the two planes meet other banks

/// Everything of a block but the ring.
struct BlockShared {
  alignas(16) uint8_t planes[2][kPlaneStride];
  alignas(16) float2 scales[kMaxResidentTiles * 2];
  float squares[2][kMaxResidentTiles / 2];  // two stages in turn
  float partial[kMaxJobs * kTileRows];
  alignas(16) float heads[(kSpanHeads + 2) * kResidentDims * 32];  // queries of a unit, its key, its value
  float rotary[kResidentDims * 32];
  SpanShared<kResidentDims> span;
  DeltaShared<kResidentKeys> delta;
  JoinShared join;
  alignas(8) uint64_t full[kMaxSlots];
  uint64_t empty[kMaxSlots];
};

#ifdef PROSA_WGMMA
/// Where a stage finds its inputs and leaves its sums.
struct ResidentInput {
  const uint64_t* x;
  uint32_t x_mark;
  const uint64_t* y;  // Input::gated
  uint32_t y_mark;
  const float* weight;
  int head;
};
struct ResidentOutput {
  uint64_t* out;
  uint32_t mark;
  const uint64_t* old;  // Output::add
  uint32_t old_mark;
};

__device__ inline void meet_all() { meet<1, kResidentThreads>(); }
__device__ inline void meet_span() { meet<2, kSpanWarps * 32>(); }
__device__ inline void meet_delta() { meet<3, kDeltaThreads>(); }

template <int kBits, bool kGroup32>
class ResidentBlock {
 public:
  __device__ ResidentBlock(const ResidentArgs& args, BlockShared& shared, uint8_t* ring)
      : args_(args),
        shared_(shared),
        ring_{ring, shared.full, shared.empty, args.slots},
        watch_{args.given_up, args.failure, args.first_mark},
        block_(static_cast<int>(blockIdx.x)),
        blocks_(static_cast<int>(gridDim.x)),
        thread_(static_cast<int>(threadIdx.x)),
        warp_(static_cast<int>(threadIdx.x) / 32),
        lane_(static_cast<int>(threadIdx.x) % 32) {}

  /// The thread that fetches.
  __device__ void fetch() {
    for (int l = 0; l < args_.layer_count; ++l) {
      const ResidentLayer& layer = args_.layers[l];
      if (layer.delta != 0) {
        prefetch_state(layer);
      } else {
        prefetch_kv(layer);
      }
      feed(layer.delta != 0 ? args_.delta_in : args_.attention_in, layer.in);
      feed(layer.delta != 0 ? args_.delta_out : args_.attention_out, layer.out);
      feed(args_.gate_up, layer.gate_up);
      feed(args_.down, layer.down);
    }
    if (args_.row.logits != nullptr) feed(args_.head, args_.head_matrix);
  }

  /// All threads that compute.
  __device__ void compute() {
    embed();
    for (int l = 0; l < args_.layer_count; ++l) {
      const ResidentLayer& layer = args_.layers[l];
      const uint32_t before = args_.first_mark + static_cast<uint32_t>(l);
      const uint32_t mark = before + 1;
      const ResidentInput hidden{args_.hidden, before, nullptr, 0, layer.input_norm, 0};
      const ResidentOutput middle{args_.middle, mark, args_.hidden, before};
      if (layer.delta != 0) {
        Unit unit;
        load(unit, layer);
        product<Input::norm, Output::store>(args_.delta_in, hidden, {args_.rows, mark, nullptr, 0}, 0);
        if (unit.there) step(unit, mark);
        const ResidentInput mixed{
            args_.mixed,          mark, args_.rows + args_.delta.z_at, mark, args_.delta_layers[layer.mixer].norm,
            args_.delta.value_dim};
        product<Input::gated, Output::add>(args_.delta_out, mixed, middle, 0);
      } else {
        product<Input::norm, Output::store>(args_.attention_in, hidden, {args_.rows, mark, nullptr, 0}, 0);
        attention(layer, mark);
        product<Input::plain, Output::add>(args_.attention_out, {args_.mixed, mark, nullptr, 0, nullptr, 0}, middle, 0);
      }
      product<Input::norm, Output::silu>(args_.gate_up, {args_.middle, mark, nullptr, 0, layer.post_norm, 0},
                                         {args_.inner, mark, nullptr, 0}, 1);
      product<Input::plain, Output::add>(args_.down, {args_.inner, mark, nullptr, 0, nullptr, 0},
                                         {args_.hidden, mark, args_.middle, mark}, 0);
    }
    if (args_.row.logits != nullptr) head();
  }

 private:
  /// A block's 16 columns of a recurrent matrix, and its channels of the window: read before the products are there.
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

  __device__ void feed(const ResidentStage& stage, const ResidentMatrix& matrix) {
    cuda::feed<kBits, kGroup32>(ring_, stage, matrix, block_, blocks_, watch_);
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
    for (int col = thread_ * blocks_ + block_; col < args_.down.limit; col += kResidentThreads * blocks_)
      publish(args_.hidden + col, weight_at(args_.embedding, args_.row.token, col), args_.first_mark);
    const int half = args_.attention.rotary_dim / 2;
    const int i = thread_ - kResidentThreads / 2;
    if (args_.frequency == nullptr || i < 0 || i >= half) return;
    const float2 turn = turn_of(args_.row.position, args_.frequency[i]);
    shared_.rotary[i] = turn.x;
    shared_.rotary[half + i] = turn.y;
  }

  /// The stage's inputs as planes of 8 bits, as soon as they are there.
  template <Input kIn>
  __device__ void make_inputs(const ResidentStage& s, const ResidentInput& from, float* squares) {
    constexpr int kGroupsASegment = kGroup32 ? 4 : 2;
    InputArgs in;
    in.weight = from.weight;
    in.width = s.width;
    in.head = from.head;
    const int segments = (s.k_tiles + 1) / 2;
    for (int segment = warp_; segment < segments; segment += kResidentWarps) {
      const int col = segment * kSegment + lane_ * 4;
      const float4 weight = input_weight<kIn>(in, segment, lane_);
      float4 y{0, 0, 0, 0};
      if (kIn == Input::gated) y = await_four(from.y, col, s.width, from.y_mark, watch_);
      const float4 x = await_four(from.x, col, s.width, from.x_mark, watch_);
      float late = 1;
      const float4 v = input_of<kIn>(x, y, weight, from.head, args_.eps, late);
      if (kIn == Input::norm) {
        const float square = sum_lanes(add_squares(x, 0));
        if (lane_ == 0) squares[segment] = square;
      }
      quantize_segment<kGroup32>(v, late, lane_, shared_.planes[0] + segment * kSegment,
                                 shared_.planes[1] + segment * kSegment, shared_.scales + segment * kGroupsASegment);
    }
  }

  __device__ float factor_of(const ResidentStage& s, const float* squares) const {
    InputArgs in;
    in.width = s.width;
    in.eps = args_.eps;
    return scale_of(squares, (s.k_tiles + 1) / 2, in);
  }

  /// A slice of a tile row by a warp: rows lane / 4 and + 8, in every lane of four. The slot is freed.
  __device__ float2 multiply(const ResidentStage& s, int first_piece, int slice) {
    constexpr int kGroupsATile = kGroup32 ? 2 : 1;
    const int in_row = slice / s.slices_a_piece;
    const int piece = first_piece + in_row;
    const int slot = piece % ring_.slots;
    wait_ring(ring_.full + slot, piece / ring_.slots, watch_);
    const uint8_t* const weights = ring_.base + slot * slot_bytes<kBits, kGroup32>();
    const auto* const pairs = reinterpret_cast<const uint2*>(weights + slot_planes<kBits>()) + lane_ / 4;
    const int piece_k = in_row * s.slices_a_piece * s.per_slice;
    const int begin = slice * s.per_slice;
    const int end = min(begin + s.per_slice, s.k_tiles);
    const uint8_t* const planes = shared_.planes[lane_ / 4 % 2] + lane_ % 4 * 16;
    float sum[2] = {0, 0};
#pragma unroll 4
    for (int k = begin; k < end; ++k) {
      LaneTile<kBits> tile;
      tile.read(weights + (k - piece_k) * (128 * kBits), lane_);
      uint32_t a[2][4];
      tile.unpack(0, a[0]);
      tile.unpack(1, a[1]);
      const uint4 b = *reinterpret_cast<const uint4*>(planes + k * kTileCols);
      const uint2* const scale = pairs + (kGroup32 ? 2 * (k - piece_k) : (k - piece_k) >> s.wide) * 8;
      int d[4] = {0, 0, 0, 0};
      mma_u8s8(d, a[0], b.x, b.y);
      if constexpr (kGroup32) {
        add_group(sum, d, scale[0], args_.scale_type, shared_.scales[2 * k]);
        d[0] = d[1] = d[2] = d[3] = 0;
      }
      mma_u8s8(d, a[1], b.z, b.w);
      add_group(sum, d, scale[kGroup32 ? 8 : 0], args_.scale_type, shared_.scales[kGroupsATile * k + kGroupsATile - 1]);
    }
    __syncwarp();
    if (lane_ == 0) {
      const int share = kPieceShares / s.slices_a_piece;
      const int last = slice == s.slices - 1 ? s.slices_a_piece - 1 - slice % s.slices_a_piece : 0;
      barrier_arrive_many(shared_address(ring_.empty + slot), share * (1 + last));
    }
    return {sum[0], sum[1]};
  }

  template <Input kIn, Output kOut>
  __device__ void product(const ResidentStage& s, const ResidentInput& from, const ResidentOutput& to, int turn) {
    const int rows = tile_rows_of(s, block_, blocks_);
    if (rows == 0) return;
    const int first = first_unit(s, block_, blocks_);
    const int n0 = (first + thread_ / kTileRows * blocks_) * kTileRows + thread_ % kTileRows;
    float old = 0;  // for add: a block has at most one row a thread
    if (kOut == Output::add && thread_ < rows * kTileRows && n0 < s.limit)
      old = await(to.old + n0, to.old_mark, watch_);
    float* const squares = shared_.squares[turn];
    make_inputs<kIn>(s, from, squares);
    meet_all();
    for (int job = warp_; job < rows * s.slices; job += kResidentWarps) {
      const int row = job / s.slices;
      const float2 sum = multiply(s, ring_.next + row * s.pieces, job % s.slices);
      if (lane_ % 4 == 0) {
        shared_.partial[job * kTileRows + lane_ / 4] = sum.x;
        shared_.partial[job * kTileRows + lane_ / 4 + 8] = sum.y;
      }
    }
    ring_.next += rows * s.pieces;
    meet_all();
    for (int i = thread_; i < rows * kTileRows; i += kResidentThreads) {
      const int row = i / kTileRows;
      const int r = i % kTileRows;
      if (kOut == Output::silu && row % 2 != 0) continue;
      const int n = (first + row / s.rows_a_unit * blocks_) * kTileRows + r;
      if (n >= s.limit) continue;
      const float factor = kIn == Input::norm ? factor_of(s, squares) : 1.0F;
      const auto sum_of = [&](int which) {
        float y = 0;
#pragma unroll 4
        for (int slice = 0; slice < s.slices; ++slice) y += shared_.partial[(which * s.slices + slice) * kTileRows + r];
        return kIn == Input::norm ? y * factor : y;
      };
      float y = sum_of(row);
      if (kOut == Output::silu) y = silu(y) * sum_of(row + 1);
      publish(to.out + n, kOut == Output::add ? old + y : y, to.mark);
    }
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

  __device__ void step(Unit& unit, uint32_t mark) {
    const DeltaShape& s = args_.delta;
    auto& shared = shared_.delta;
    constexpr int kChannels = 2 * kResidentKeys * 32 + kStateColumns;
    constexpr int kDecayThread = kResidentThreads - 32;
    constexpr int kBetaThread = kResidentThreads - 64;
    static_assert(kBetaThread >= kChannels, "gates have threads of their own");
    if (thread_ == kDecayThread)
      shared.gates[0] = decay_of(await(args_.rows + s.a_at + unit.head, mark, watch_), unit.rate, unit.bias);
    if (thread_ == kBetaThread) shared.gates[1] = beta_of(await(args_.rows + s.b_at + unit.head, mark, watch_));
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
      attend<kResidentDims>(
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

  /// A warp a tile row, all its slices in order.
  __device__ void head() {
    const ResidentStage& s = args_.head;
    const uint32_t mark = args_.first_mark + static_cast<uint32_t>(args_.layer_count);
    make_inputs<Input::norm>(s, {args_.hidden, mark, nullptr, 0, args_.norm, 0}, shared_.squares[0]);
    meet_all();
    const float factor = factor_of(s, shared_.squares[0]);
    const int rows = tile_rows_of(s, block_, blocks_);
    const int first = first_unit(s, block_, blocks_);
    for (int row = warp_; row < rows; row += kResidentWarps) {
      float2 total{0, 0};
      for (int slice = 0; slice < s.slices; ++slice) {
        const float2 sum = multiply(s, ring_.next + row * s.pieces, slice);
        total.x += sum.x;
        total.y += sum.y;
      }
      const int n = (first + row * blocks_) * kTileRows + lane_ / 4;
      if (lane_ % 4 != 0) continue;
      if (n < s.limit) args_.row.logits[n] = total.x * factor;
      if (n + 8 < s.limit) args_.row.logits[n + 8] = total.y * factor;
    }
  }

  const ResidentArgs& args_;
  BlockShared& shared_;
  Ring ring_;
  Watch watch_;
  const int block_;
  const int blocks_;
  const int thread_;
  const int warp_;
  const int lane_;
};

/// Once before a block's threads part.
__device__ inline void prepare_ring(BlockShared& shared, int slots) {
  if (threadIdx.x != 0) return;
  for (int i = 0; i < slots; ++i) {
    barrier_init(shared_address(shared.full + i), 1);
    barrier_init(shared_address(shared.empty + i), kPieceShares);
  }
  barrier_fence();
}

#endif
}  // namespace prosa::backend::cuda
