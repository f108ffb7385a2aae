// A block's ring of weights in shared memory: one thread asks for the pieces of all stages in the order in which the
// block multiplies them, the other warps free them. Weights depend on no token, so the ring never stops at a meeting.
//
// Piece number n stands in slot n % slots. Invariant: whoever ends has waited for every piece that was asked for, so no
// copy is under way when the kernel ends.
#pragma once

#include "backend/cuda/kernels/bulk.cuh"
#include "backend/cuda/kernels/exchange.cuh"
#include "backend/cuda/kernels/resident.h"

namespace prosa::backend::cuda {

/// Bytes of a slot's weights; its scales stand behind them.
template <int kBits>
__host__ __device__ constexpr int slot_planes() {
  return kPieceTiles * 128 * kBits;
}
template <int kBits, bool kGroup32>
__host__ __device__ constexpr int slot_bytes() {
  return slot_planes<kBits>() + kPieceTiles * (kGroup32 ? 2 : 1) * 64;
}

#ifdef PROSA_WGMMA
struct Ring {
  uint8_t* base;
  uint64_t* full;   // [slots] barriers: the copies have come
  uint64_t* empty;  // [slots] kPieceShares arrivals: everybody has read it
  int slots;
  // Where the stage under way begins.
  int slot = 0;
  int round = 0;

  /// `pieces` on.
  __device__ void move(int pieces) {
    slot += pieces;
    while (slot >= slots) slot -= slots, ++round;
  }
};

/// Copies come and warps go on whatever becomes of the pass, so this does not end with it.
__device__ inline void wait_ring(uint64_t* barrier, int round, Watch& watch) {
  const uint32_t address = shared_address(barrier);
  for (int looks = 0; !barrier_passed(address, static_cast<uint32_t>(round) & 1U); ++looks) {
    if (looks < kMaxLooks) continue;
    store_flag(watch.given_up, watch.pass);
    store_flag(watch.failure, watch.pass);
    watch.failed = true;
    return;
  }
}

__device__ inline int first_unit(const ResidentStage& s, int block, int blocks) {
  return (block - s.first_block % blocks + blocks) % blocks;
}
/// Tile rows of a block in a stage.
__device__ inline int tile_rows_of(const ResidentStage& s, int block, int blocks) {
  const int first = first_unit(s, block, blocks);
  return first < s.units ? (s.units - first + blocks - 1) / blocks * s.rows_a_unit : 0;
}

/// Asks for a stage's pieces. By one thread.
template <int kBits, bool kGroup32>
__device__ inline void feed(Ring& ring, const ResidentStage& s, const ResidentMatrix& m, int block, int blocks,
                            Watch& watch) {
  const int piece_tiles = s.per_slice << s.piece_shift;
  for (int unit = first_unit(s, block, blocks); unit < s.units; unit += blocks) {
    for (int half = 0; half < s.rows_a_unit; ++half) {
      const int64_t tile_row = unit * s.rows_a_unit + half;
      for (int piece = 0; piece < s.pieces; ++piece) {
        const int k = piece * piece_tiles;
        const int tiles = min(piece_tiles, s.k_tiles - k);
        const int group = kGroup32 ? 2 * k : k >> s.wide;
        const int groups = kGroup32 ? 2 * tiles : (tiles + s.wide) >> s.wide;
        if (ring.round > 0) wait_ring(ring.empty + ring.slot, ring.round - 1, watch);
        const uint32_t barrier = shared_address(ring.full + ring.slot);
        const uint32_t to = shared_address(ring.base + ring.slot * slot_bytes<kBits, kGroup32>());
        barrier_expect(barrier, tiles * 128 * kBits + groups * 64);
        bulk_copy_once(to, m.planes + (tile_row * s.k_tiles + k) * (128 * kBits), tiles * 128 * kBits, barrier);
        bulk_copy_once(to + slot_planes<kBits>(), m.scales + (tile_row * s.groups + group) * 16, groups * 64, barrier);
        ring.move(1);
      }
    }
  }
}

#endif
}  // namespace prosa::backend::cuda
