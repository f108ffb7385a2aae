// What the kernels of the chunked delta rule share: where a chunk stands, and how its operands come to shared memory.
#pragma once

#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTaps = 4;
constexpr int kPitchP = kChunk + 8;  // halves of a row of P and T
constexpr int kScanColumns = 32;     // value columns of a block of the scan
constexpr int kPitchS = kScanColumns + 8;

struct ChunkPlace {
  int segment;
  int first;  // row of the pass
  int count;  // tokens
  int token;  // of the segment
};

__device__ inline ChunkPlace place_of(const ChunkArgs& args, int chunk) {
  const int2 at = args.chunks[chunk];
  const ManySegment& segment = args.segments[at.x];
  const int token = at.y - segment.first;
  return {at.x, at.y, min(kChunk, segment.count - token), token};
}

/// [64][kColumns] halves, rows `stride` apart; rows from `valid` on are zero.
template <int kColumns>
__device__ inline void load_rows(__half* to, int pitch, const __half* from, int64_t stride, int valid) {
  for (int i = static_cast<int>(threadIdx.x); i < kChunk * kColumns / 8; i += kThreads) {
    const int row = i / (kColumns / 8);
    const int col = i % (kColumns / 8) * 8;
    copy_async(to + row * pitch + col, row < valid ? from + row * stride + col : from, row < valid);
  }
}

}  // namespace
}  // namespace prosa::backend::cuda
