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
  float squares[kMaxResidentTiles / 2];
  float partial[kMaxJobs * kTileRows];
  alignas(16) float heads[(kSpanHeads + 2) * kResidentDims * 32];  // queries of a unit, its key, its value
  float rotary[kResidentDims * 32];
  SpanShared<kResidentDims> span;
  DeltaShared<kResidentKeys> delta;
  JoinShared join;
  ResidentStage stages[kResidentKinds];  // where a stage is chosen at run time: not for the parameters' memory
  alignas(8) uint64_t full[kMaxSlots];
  uint64_t empty[kMaxSlots];
};

#ifdef PROSA_WGMMA
/// Four tiles of a slice in registers, with their scales.
template <int kBits, bool kGroup32>
struct ResidentTiles {
  static constexpr int kScales = kGroup32 ? 2 : 1;
  LaneTile<kBits> tile[kBatchTiles];
  uint2 scale[kBatchTiles][kScales];  // of the rows lane / 4 and + 8
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
    embed();
#pragma unroll 1
    for (int l = 0; l < args_.layer_count; ++l) {
      const ResidentLayer& layer = args_.layers[l];
      const bool delta = layer.delta != 0;
      const uint32_t mark = args_.first_mark + static_cast<uint32_t>(l) + 1;
#pragma unroll 1
      for (int stage = 0; stage < 4; ++stage) {
        product(layer, stage_of(layer, stage), mark);
        if (stage > 0) continue;
        if (delta) {
          step(layer, mark);
        } else {
          attention(layer, mark);
        }
      }
    }
    if (args_.row.logits != nullptr) head();
  }

 private:
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
  /// What the inputs of a layer's stage are multiplied with.
  __device__ const float* weight_of(const ResidentLayer& layer, const ResidentStage& s) const {
    if (s.in == Input::gated) return args_.delta_layers[layer.mixer].norm;
    return s.x == args_.hidden ? layer.input_norm : layer.post_norm;
  }

  /// A segment of the inputs as planes of 8 bits.
  template <Input kIn>
  __device__ void make_segment(float4 x, float4 y, float4 weight, int segment) {
    constexpr int kGroupsASegment = kGroup32 ? 4 : 2;
    float late = 1;
    const float4 v = input_of<kIn>(x, y, weight, args_.delta.value_dim, args_.eps, late);
    if (kIn == Input::norm) {
      const float square = sum_lanes(add_squares(x, 0));
      if (lane_ == 0) shared_.squares[segment] = square;
    }
    quantize_segment<kGroup32>(v, late, lane_, shared_.planes[0] + segment * kSegment,
                               shared_.planes[1] + segment * kSegment, shared_.scales + segment * kGroupsASegment);
  }

  /// All inputs of a stage, as soon as they are there. A warp has one segment, or two of a long row.
  template <Input kIn>
  __device__ void make_inputs(const ResidentStage& s, const float* weights, uint32_t mark) {
    const int segments = (s.k_tiles + 1) / 2;
    if (kIn == Input::plain && warp_ + kResidentWarps < segments) {
      float4 x[2];
      await_fours(s.x, warp_ * kSegment + lane_ * 4, kResidentWarps * kSegment, s.width, mark, watch_, x);
      make_segment<kIn>(x[0], x[0], x[0], warp_);
      make_segment<kIn>(x[1], x[1], x[1], warp_ + kResidentWarps);
      return;
    }
    InputArgs in;
    in.weight = weights;
    in.width = s.width;
    in.head = args_.delta.value_dim;
#pragma unroll 1
    for (int segment = warp_; segment < segments; segment += kResidentWarps) {
      const int col = segment * kSegment + lane_ * 4;
      const float4 weight = input_weight<kIn>(in, segment, lane_);
      float4 y{0, 0, 0, 0};
      if (kIn == Input::gated) y = await_four(s.y, col, s.width, mark, watch_);
      make_segment<kIn>(await_four(s.x, col, s.width, mark, watch_), y, weight, segment);
    }
  }

  __device__ float factor_of(const ResidentStage& s) const {
    InputArgs in;
    in.width = s.width;
    in.eps = args_.eps;
    return scale_of(shared_.squares, (s.k_tiles + 1) / 2, in);
  }

  /// Where a warp's slice is.
  struct Slice {
    int slot = 0;
    int round = 0;
    int begin = 0;  // tiles of the row
    int end = 0;
    int piece_k = 0;  // the slot's first
    int shares = 0;   // arrivals
  };
  __device__ Slice slice_of(const ResidentStage& s, int row, int slice) const {
    Slice at;
    const int in_row = slice >> s.piece_shift;
    Ring ring = ring_;
    ring.move(row * s.pieces + in_row);
    at.slot = ring.slot;
    at.round = ring.round;
    at.begin = slice * s.per_slice;
    at.end = min(at.begin + s.per_slice, s.k_tiles);
    at.piece_k = (in_row << s.piece_shift) * s.per_slice;
    const int missing = slice == s.slices - 1 ? ((in_row + 1) << s.piece_shift) - s.slices : 0;
    at.shares = (kPieceShares >> s.piece_shift) * (1 + missing);
    return at;
  }

  /// Tiles k .. k + 3, as far as the slice goes.
  __device__ void take(ResidentTiles<kBits, kGroup32>& tiles, const ResidentStage& s, const Slice& at, int k) const {
    const uint8_t* const weights = ring_.base + at.slot * slot_bytes<kBits, kGroup32>();
    const auto* const pairs = reinterpret_cast<const uint2*>(weights + slot_planes<kBits>()) + lane_ / 4;
#pragma unroll
    for (int i = 0; i < kBatchTiles; ++i) {
      if (k + i >= at.end) continue;
      const int in_piece = k + i - at.piece_k;
      tiles.tile[i].read(weights + in_piece * (128 * kBits), lane_);
#pragma unroll
      for (int j = 0; j < tiles.kScales; ++j)
        tiles.scale[i][j] = pairs[(kGroup32 ? 2 * in_piece + j : in_piece >> s.wide) * 8];
    }
  }

  /// Adds tiles k .. k + 3 times the inputs: rows lane / 4 and + 8, in every lane of four.
  __device__ void add_tiles(float (&sum)[2], const ResidentTiles<kBits, kGroup32>& tiles, int k, int end) const {
    const uint8_t* const planes = shared_.planes[lane_ / 4 % 2] + lane_ % 4 * 16;
#pragma unroll
    for (int i = 0; i < kBatchTiles; ++i) {
      if (k + i >= end) continue;
      uint32_t a[2][4];
      tiles.tile[i].unpack(0, a[0]);
      tiles.tile[i].unpack(1, a[1]);
      const uint4 b = *reinterpret_cast<const uint4*>(planes + (k + i) * kTileCols);
      int d[4] = {0, 0, 0, 0};
      mma_u8s8(d, a[0], b.x, b.y);
      if constexpr (kGroup32) {
        add_group(sum, d, tiles.scale[i][0], args_.scale_type, shared_.scales[2 * (k + i)]);
        d[0] = d[1] = d[2] = d[3] = 0;
      }
      mma_u8s8(d, a[1], b.z, b.w);
      constexpr int kLast = kGroup32 ? 1 : 0;
      add_group(sum, d, tiles.scale[i][kLast], args_.scale_type, shared_.scales[(kLast + 1) * (k + i) + kLast]);
    }
  }

  /// The rest of a slice whose first tiles are taken; frees the slot.
  __device__ float2 finish(ResidentTiles<kBits, kGroup32>& tiles, const ResidentStage& s, const Slice& at) {
    float sum[2] = {0, 0};
    add_tiles(sum, tiles, at.begin, at.end);
#pragma unroll 1
    for (int k = at.begin + kBatchTiles; k < at.end; k += kBatchTiles) {
      take(tiles, s, at, k);
      add_tiles(sum, tiles, k, at.end);
    }
    __syncwarp();
    if (lane_ == 0) barrier_arrive_many(shared_address(ring_.empty + at.slot), at.shares);
    return {sum[0], sum[1]};
  }

  __device__ void product(const ResidentLayer& layer, const ResidentStage& s, uint32_t mark) {
    const int rows = tile_rows_of(s, block_, blocks_);
    if (rows == 0) return;
    const int first = first_unit(s, block_, blocks_);
    // Before the inputs are there: the first slice's weights, and what the sums are added to (a block has at most one
    // row a thread then).
    ResidentTiles<kBits, kGroup32> tiles;
    int row = warp_ / s.slices;
    int slice = warp_ - row * s.slices;
    Slice at;
    if (row < rows) {
      at = slice_of(s, row, slice);
      wait_ring(ring_.full + at.slot, at.round, watch_);
      take(tiles, s, at, at.begin);
    }
    const int n0 = (first + thread_ / kTileRows * blocks_) * kTileRows + thread_ % kTileRows;
    float old = 0;
    if (s.out == Output::add && thread_ < rows * kTileRows && n0 < s.limit)
      old = await(s.old + n0, mark - static_cast<uint32_t>(s.old_back), watch_);
    const uint32_t x_mark = mark - static_cast<uint32_t>(s.x_back);
    switch (s.in) {
      case Input::norm: make_inputs<Input::norm>(s, weight_of(layer, s), x_mark); break;
      case Input::gated: make_inputs<Input::gated>(s, weight_of(layer, s), x_mark); break;
      default: make_inputs<Input::plain>(s, nullptr, x_mark); break;
    }
    meet_all();
    float factor = 1;
    if (s.in == Input::norm && thread_ < rows * kTileRows) factor = factor_of(s);
#pragma unroll 1
    while (row < rows) {
      const float2 sum = finish(tiles, s, at);
      if (lane_ % 4 == 0) {
        float* const to = shared_.partial + (row * s.slices + slice) * kTileRows + lane_ / 4;
        to[0] = sum.x;
        to[8] = sum.y;
      }
      slice += kResidentWarps;
      while (slice >= s.slices) slice -= s.slices, ++row;
      if (row >= rows) break;
      at = slice_of(s, row, slice);
      wait_ring(ring_.full + at.slot, at.round, watch_);
      take(tiles, s, at, at.begin);
    }
    ring_.move(rows * s.pieces);
    meet_all();
    for (int i = thread_; i < rows * kTileRows; i += kResidentThreads) give(s, i, first, factor, old, mark);
  }

  /// Joins the slices of one row of the block's and hands it on.
  __device__ void give(const ResidentStage& s, int i, int first, float factor, float old, uint32_t mark) const {
    const int row = i / kTileRows;
    const int r = i % kTileRows;
    if (s.out == Output::silu && row % 2 != 0) return;
    const int n = (first + (s.out == Output::silu ? row / 2 : row) * blocks_) * kTileRows + r;
    if (n >= s.limit) return;
    if (s.in == Input::norm && i >= kResidentThreads) factor = factor_of(s);
    const auto sum_of = [&](int which) {
      float y = 0;
#pragma unroll 4
      for (int slice = 0; slice < s.slices; ++slice) y += shared_.partial[(which * s.slices + slice) * kTileRows + r];
      return s.in == Input::norm ? y * factor : y;
    };
    float y = sum_of(row);
    if (s.out == Output::silu) y = silu(y) * sum_of(row + 1);
    publish(s.to + n, s.out == Output::add ? old + y : y, mark);
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

  /// A warp a tile row, all its slices in order.
  __device__ void head() {
    const ResidentStage& s = shared_.stages[kHead];
    make_inputs<Input::norm>(s, args_.norm, args_.first_mark + static_cast<uint32_t>(args_.layer_count));
    meet_all();
    const float factor = factor_of(s);
    const int rows = tile_rows_of(s, block_, blocks_);
    const int first = first_unit(s, block_, blocks_);
#pragma unroll 1
    for (int row = warp_; row < rows; row += kResidentWarps) {
      float2 total{0, 0};
#pragma unroll 1
      for (int slice = 0; slice < s.slices; ++slice) {
        const Slice at = slice_of(s, row, slice);
        wait_ring(ring_.full + at.slot, at.round, watch_);
        ResidentTiles<kBits, kGroup32> tiles;
        take(tiles, s, at, at.begin);
        const float2 sum = finish(tiles, s, at);
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
