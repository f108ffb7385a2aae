// The second-order information about a matrix's inputs, factored for error feedback and for solving.
//
// H = sum of x x^T over the inputs x of the calibration text. For the rows w of the matrix, (w - v) H (w - v)^T is the
// squared error of the outputs that the rows v make. Invariant: a Factor is constant after factor() made it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace prosa::calibrate {

/// H + damping = U diag(d) U^T with U unit upper triangular: the error of column k that the columns after it cannot
/// make good weighs d[k].
struct Factor {
  int64_t size = 0;
  std::vector<float> feedback;  // [size, size]: row k holds U[j][k] for j < k, what column k takes of earlier errors
  std::vector<float> d;         // [size]
  std::vector<float> cholesky;  // [size, size]: C C^T = H with rows and columns reversed, lower triangular
};

/// `h` [size, size], its lower triangle; `damping` is added to the diagonal. False: not positive definite in float32.
bool factor(std::span<const float> h, int64_t size, float damping, ThreadPool& pool, Factor& out);

/// rows [count, size] <- rows (H + damping)^-1
void solve(const Factor& factor, std::span<float> rows, ThreadPool& pool);

}  // namespace prosa::calibrate
