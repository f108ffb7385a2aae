// The scan of the chunked delta rule: chunk after chunk of a head, the state in registers. Included by chunk.cu, which
// says what its operands are.
#pragma once

#include "backend/cuda/kernels/chunk.cuh"

namespace prosa::backend::cuda {
namespace {

/// One chunk's operands in shared memory.
template <int kD>
struct ScanTiles {
  __half w[kChunk][kD + 8];
  __half q[kChunk][kD + 8];
  __half k[kChunk][kD + 8];
  __half p[kChunk][kPitchP];
  __half u[kChunk][kPitchS];
  float sums[kChunk];
};

template <int kD>
struct ScanShared {
  ScanTiles<kD> tiles[2];
  __half state[kD][kPitchS];
  __half taken[kChunk][kPitchS];    // u
  __half decayed[kChunk][kPitchS];  // u times e^(b_end - b)
};

/// A block 32 value columns of a head of a segment, chunk after chunk, the state in registers.
template <int kD>
__global__ __launch_bounds__(kThreads) void chunk_scan_kernel(ChunkArgs args) {
  constexpr int kSplits = kD / kScanColumns;
  constexpr int kStateTiles = kD / 32;  // tiles of 16 x 8 of the state in a warp
  extern __shared__ __align__(16) uint8_t bytes[];
  auto& shared = *reinterpret_cast<ScanShared<kD>*>(bytes);
  wait_previous();
  signal_next();
  const DeltaShape& s = args.shape;
  const DeltaLayer layer = args.layers[args.layer];
  const int head = static_cast<int>(blockIdx.x) / kSplits;
  const int column0 = static_cast<int>(blockIdx.x) % kSplits * kScanColumns;
  const int key_head = head / (s.value_heads / s.key_heads);
  const int segment_index = static_cast<int>(blockIdx.y);
  const ManySegment segment = args.segments[segment_index];
  const int chunks = (segment.count + kChunk - 1) / kChunk;
  int chunk0 = 0;  // number of the segment's first chunk in the pass
  for (int i = 0; i < segment_index; ++i) chunk0 += (args.segments[i].count + kChunk - 1) / kChunk;
  const int64_t key_stride = static_cast<int64_t>(s.key_heads) * kD;
  const int64_t value_stride = static_cast<int64_t>(s.value_heads) * kD;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  const auto load = [&](int chunk) {
    if (chunk < chunks) {
      ScanTiles<kD>& to = shared.tiles[chunk % 2];
      const int row = segment.first + chunk * kChunk;
      const int valid = min(kChunk, segment.count - chunk * kChunk);
      load_rows<kD>(&to.w[0][0], kD + 8, static_cast<const __half*>(args.w) + row * value_stride + head * kD,
                    value_stride, valid);
      load_rows<kD>(&to.q[0][0], kD + 8, static_cast<const __half*>(args.q) + row * key_stride + key_head * kD,
                    key_stride, valid);
      load_rows<kD>(&to.k[0][0], kD + 8, static_cast<const __half*>(args.k) + row * key_stride + key_head * kD,
                    key_stride, valid);
      load_rows<kChunk>(&to.p[0][0], kPitchP,
                        static_cast<const __half*>(args.p) +
                            (static_cast<int64_t>(chunk0 + chunk) * s.value_heads + head) * kChunk * kChunk,
                        kChunk, kChunk);
      load_rows<kScanColumns>(&to.u[0][0], kPitchS,
                              static_cast<const __half*>(args.v) + row * value_stride + head * kD + column0,
                              value_stride, valid);
      if (threadIdx.x < kChunk) {  // behind the last token nothing decays any more
        const int t = min(static_cast<int>(threadIdx.x), valid - 1);
        to.sums[threadIdx.x] = args.decay[static_cast<int64_t>(row + t) * s.value_heads + head];
      }
    }
    copy_commit();
  };
  load(0);

  // This warp's part of the state: rows d0.. of 16, kStateTiles tiles of 8 columns from tile n0 on.
  const int d0 = warp % (kD / 16) * 16;
  const int n0 = warp / (kD / 16) * kStateTiles;
  const auto state_at = [&](int d, int column) {
    const int c = column0 + column;
    return layer.matrix_at +
           ((static_cast<int64_t>(head) * s.value_tiles + c / kStateColumns) * kD + d) * kStateColumns +
           c % kStateColumns;
  };
  float state[kStateTiles][4];
#pragma unroll
  for (int n = 0; n < kStateTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 v = *reinterpret_cast<const float2*>(
          segment.found + state_at(d0 + lane / 4 + 8 * half, (n0 + n) * 8 + lane % 4 * 2));
      state[n][2 * half] = v.x;
      state[n][2 * half + 1] = v.y;
    }
  }
  const auto show_state = [&] {
#pragma unroll
    for (int n = 0; n < kStateTiles; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<uint32_t*>(&shared.state[d0 + lane / 4 + 8 * half][(n0 + n) * 8 + lane % 4 * 2]) =
            pack_f16(state[n][2 * half], state[n][2 * half + 1]);
      }
    }
  };
  show_state();

  const int tile = warp % 4;          // 16 tokens
  const int columns = warp / 4 * 16;  // and 16 columns of them
  for (int chunk = 0; chunk < chunks; ++chunk) {
    copy_wait<0>();
    __syncthreads();
    load(chunk + 1);
    const ScanTiles<kD>& now = shared.tiles[chunk % 2];
    float taken[2][4] = {};
    float out[2][4] = {};
    const uint32_t w_address = shared_address(&now.w[tile * 16 + lane % 16][lane / 16 * 8]);
    const uint32_t q_address = shared_address(&now.q[tile * 16 + lane % 16][lane / 16 * 8]);
    const uint32_t s_address = shared_address(&shared.state[lane % 16][columns + lane / 16 * 8]);
#pragma unroll
    for (int d = 0; d < kD; d += 16) {
      uint32_t w[4];
      uint32_t q[4];
      uint32_t b[4];
      load_matrices(w, w_address + d * 2);
      load_matrices(q, q_address + d * 2);
      load_matrices_transposed(b, s_address + d * kPitchS * 2);
      mma_f16(taken[0], w, b[0], b[1]);
      mma_f16(taken[1], w, b[2], b[3]);
      mma_f16(out[0], q, b[0], b[1]);
      mma_f16(out[1], q, b[2], b[3]);
    }
    const float end = now.sums[kChunk - 1];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int t = tile * 16 + lane / 4 + 8 * half;
        const int c = columns + n * 8 + lane % 4 * 2;
        const float2 u = __half22float2(*reinterpret_cast<const __half2*>(&now.u[t][c]));
        const float x = u.x - taken[n][2 * half];
        const float y = u.y - taken[n][2 * half + 1];
        const float decay = __expf(end - now.sums[t]);
        *reinterpret_cast<uint32_t*>(&shared.taken[t][c]) = pack_f16(x, y);
        *reinterpret_cast<uint32_t*>(&shared.decayed[t][c]) = pack_f16(x * decay, y * decay);
        const float seen = __expf(now.sums[t]);
        out[n][2 * half] *= seen;
        out[n][2 * half + 1] *= seen;
      }
    }
    __syncthreads();
    const uint32_t p_address = shared_address(&now.p[tile * 16 + lane % 16][lane / 16 * 8]);
    const uint32_t u_address = shared_address(&shared.taken[lane % 16][columns + lane / 16 * 8]);
#pragma unroll
    for (int k = 0; k < kChunk; k += 16) {
      uint32_t p[4];
      uint32_t b[4];
      load_matrices(p, p_address + k * 2);
      load_matrices_transposed(b, u_address + k * kPitchS * 2);
      mma_f16(out[0], p, b[0], b[1]);
      mma_f16(out[1], p, b[2], b[3]);
    }
    const float keep = __expf(end);
#pragma unroll
    for (int n = 0; n < kStateTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) state[n][i] *= keep;
    }
    // k^T: rows of the operand are key dims, which lie along the rows of shared memory.
    const uint32_t k_address = shared_address(&now.k[lane / 16 * 8 + lane % 8][d0 + lane / 8 % 2 * 8]);
    const uint32_t e_address = shared_address(&shared.decayed[lane % 16][n0 * 8 + lane / 16 * 8]);
#pragma unroll
    for (int k = 0; k < kChunk; k += 16) {
      uint32_t left[4];
      load_matrices_transposed(left, k_address + k * (kD + 8) * 2);
#pragma unroll
      for (int n = 0; n < kStateTiles; n += 2) {
        uint32_t b[4];
        load_matrices_transposed(b, e_address + (k * kPitchS + n * 8) * 2);
        mma_f16(state[n], left, b[0], b[1]);
        mma_f16(state[n + 1], left, b[2], b[3]);
      }
    }
    show_state();  // read by others only after the next barrier; they have read the old one before the last
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int t = chunk * kChunk + tile * 16 + lane / 4 + 8 * half;
        if (t >= segment.count) continue;
        *reinterpret_cast<float2*>(args.out + static_cast<int64_t>(segment.first + t) * args.out_stride + head * kD +
                                   column0 + columns + n * 8 + lane % 4 * 2) =
            float2{out[n][2 * half], out[n][2 * half + 1]};
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kStateTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      *reinterpret_cast<float2*>(segment.left + state_at(d0 + lane / 4 + 8 * half, (n0 + n) * 8 + lane % 4 * 2)) =
          float2{state[n][2 * half], state[n][2 * half + 1]};
    }
  }
}

}  // namespace
}  // namespace prosa::backend::cuda
