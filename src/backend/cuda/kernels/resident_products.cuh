// The products of the resident decode kernel: what a block keeps in shared memory, how it makes a stage's inputs, and
// how its warps multiply slices out of the ring. The kernel's course: resident.cuh.
#pragma once

#include "backend/cuda/kernels/attention.cuh"
#include "backend/cuda/kernels/delta.cuh"
#include "backend/cuda/kernels/gemv.cuh"
#include "backend/cuda/kernels/ring.cuh"

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

/// A block as far as products go.
template <int kBits, bool kGroup32>
class ResidentProducts {
 protected:
  __device__ ResidentProducts(const ResidentArgs& args, BlockShared& shared, uint8_t* ring)
      : args_(args),
        shared_(shared),
        ring_{ring, shared.full, shared.empty, args.slots},
        watch_{args.given_up, args.failure, args.first_mark},
        block_(static_cast<int>(blockIdx.x)),
        blocks_(static_cast<int>(gridDim.x)),
        thread_(static_cast<int>(threadIdx.x)),
        warp_(static_cast<int>(threadIdx.x) / 32),
        lane_(static_cast<int>(threadIdx.x) % 32) {}

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

#endif
}  // namespace prosa::backend::cuda
