// Products of float32 matrices for calibration: activations with weights, and sums of squares of activations.
//
// Not for inference, whose products are the backends'. Invariant: every result is summed up by one thread in one order,
// so it does not depend on the number of threads.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace prosa::calibrate {

/// A row-major matrix in somebody's memory.
struct View {
  const float* data = nullptr;  // [rows, ld]
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;
};

enum class Into { assign, add, subtract };

/// c (+/-)= a b^T for a [m, k] and b [n, k], c [m, ldc], by the calling thread.
void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc);

/// The same by all workers. With `lower`, of a square result only what lies in blocks on or below the diagonal.
void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc, ThreadPool& pool, bool lower = false);

/// out [cols, rows] = a^T
void transpose(const View& a, float* out, ThreadPool& pool);

}  // namespace prosa::calibrate
