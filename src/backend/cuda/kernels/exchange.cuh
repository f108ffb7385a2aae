// How the blocks of a resident kernel hand numbers to each other: every number travels with the mark of the stage that
// made it, in one word of eight bytes, and who needs it looks at that word until it has the mark.
//
// There is no counter and no barrier of the grid: a block waits for exactly the numbers that it reads, and no fence
// stands between a number and its sign. Invariant: all blocks are resident at once; nobody writes a word's next number
// before all readers have this one (resident.cuh says why). Every wait is bounded: after kMaxLooks the pass is given
// up, all blocks hear of it, and the kernel ends.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

inline constexpr int kMaxLooks = 1 << 21;      // about a second
inline constexpr int kLooksBetween = 1 << 12;  // looks at whether another block has given up

__device__ inline void publish(uint64_t* to, float x, uint32_t mark) {
  store_word(to, (static_cast<uint64_t>(mark) << 32) | __float_as_uint(x));
}

/// A thread's view of whether the pass is alive.
struct Watch {
  uint32_t* given_up;  // device: the pass that a block gave up
  uint32_t* failure;   // the host's memory: the same, where the host looks
  uint32_t pass;       // its first mark
  bool failed = false;

  /// After a look that was in vain; false: stop looking.
  __device__ bool again(int& looks) {
    if (failed) return false;
    ++looks;
    if (looks % kLooksBetween != 0) return true;
    if (looks < kMaxLooks && load_flag(given_up) != pass) return true;
    store_flag(given_up, pass);
    store_flag(failure, pass);
    failed = true;
    return false;
  }
};

__device__ inline bool has_mark(uint64_t word, uint32_t mark) { return static_cast<uint32_t>(word >> 32) == mark; }
__device__ inline float number_of(uint64_t word) { return __uint_as_float(static_cast<uint32_t>(word)); }

__device__ inline float await(const uint64_t* from, uint32_t mark, Watch& watch) {
  uint64_t word = load_word(from);
  for (int looks = 0; !has_mark(word, mark) && watch.again(looks);) word = load_word(from);
  return number_of(word);
}

/// kCount numbers `step` words apart; the first `there` of them, zeros for the others.
template <int kCount>
__device__ inline void await_some(const uint64_t* from, int64_t step, int there, uint32_t mark, Watch& watch,
                                  float* x) {
  uint64_t word[kCount];
  int looks = 0;
  bool all = true;
  do {
    all = true;
#pragma unroll
    for (int i = 0; i < kCount; ++i) word[i] = i < there ? load_word(from + i * step) : 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) all = all && (i >= there || has_mark(word[i], mark));
  } while (!all && watch.again(looks));
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] = number_of(word[i]);
}

/// Columns col .. col + 3 of a row, and the same again `step` columns on ...; zeros behind the width (a multiple of
/// four, as col is).
template <int kCount>
__device__ inline void await_fours(const uint64_t* row, int col, int step, int width, uint32_t mark, Watch& watch,
                                   float4 (&x)[kCount]) {
  uint64_t word[kCount][2][2];
  int looks = 0;
  bool all = true;
  do {
    all = true;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (col + i * step >= width) continue;
      load_words(row + col + i * step, word[i][0]);
      load_words(row + col + i * step + 2, word[i][1]);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (col + i * step >= width) continue;
      all = all && has_mark(word[i][0][0], mark) && has_mark(word[i][0][1], mark) && has_mark(word[i][1][0], mark) &&
            has_mark(word[i][1][1], mark);
    }
  } while (!all && watch.again(looks));
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    x[i] = {0, 0, 0, 0};
    if (col + i * step < width)
      x[i] = {number_of(word[i][0][0]), number_of(word[i][0][1]), number_of(word[i][1][0]), number_of(word[i][1][1])};
  }
}

__device__ inline float4 await_four(const uint64_t* row, int col, int width, uint32_t mark, Watch& watch) {
  float4 x[1];
  await_fours(row, col, 0, width, mark, watch, x);
  return x[0];
}

}  // namespace prosa::backend::cuda
