// The Cholesky factorization of a damped Hessian, in the two forms that quantization needs: square-root-free for the
// error feedback of GPTQ (LDLQ, Chee et al. 2023), and as it is for solving.
//
// Pure linear algebra in float32; what H is, hessian.h says. Invariant: a factor is constant after cholesky_factor()
// made it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace prosa::calibrate {

/// H + damping = U diag(d) U^T with U unit upper triangular: the error of column k that the columns after it cannot
/// make good weighs d[k].
struct CholeskyFactor {
  int64_t size = 0;
  std::vector<float> feedback;  // [size, size]: row k holds U[j][k] for j < k, what column k takes of earlier errors
  std::vector<float> d;         // [size]
  std::vector<float> cholesky;  // [size, size]: C C^T = H with rows and columns reversed, lower triangular
};

/// `h` [size, size], its lower triangle; `damping` is added to the diagonal. False: not positive definite in float32.
bool cholesky_factor(std::span<const float> h, int64_t size, float damping, ThreadPool& pool, CholeskyFactor& out);

/// rows [count, size] <- rows (H + damping)^-1
void solve(const CholeskyFactor& factor, std::span<float> rows, ThreadPool& pool);

}  // namespace prosa::calibrate
