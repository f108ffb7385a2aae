// Products of float32 matrices for calibration: activations with weights, and sums of squares of activations.
//
// Not for inference, whose products are the backends'. Invariant: every result is summed up in one order, in stretches
// of kDeep, so it does not depend on the number of threads, nor on which rows stand beside it.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace prosa::calibrate {

/// A matrix in somebody's memory: element (row, col) at data[row * row_step + col * col_step].
struct View {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_step = 0;
  int64_t col_step = 1;

  [[nodiscard]] View part(int64_t begin, int64_t end) const {
    return {data + begin * row_step, end - begin, cols, row_step, col_step};
  }
  [[nodiscard]] View transposed() const { return {data, cols, rows, col_step, row_step}; }
};

enum class Into { assign, add, subtract };

/// c (+/-)= a b^T for a [m, k] and b [n, k], c [m, ldc], by the calling thread.
void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc);

/// The same by all workers. With `lower`, of a square result only what lies in blocks on or below the diagonal.
void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc, ThreadPool& pool, bool lower = false);

}  // namespace prosa::calibrate
