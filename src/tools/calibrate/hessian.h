// The Hessian of a matrix's squared output error over a text, up to a factor of two: H = sum of x x^T over the inputs x
// (GPTQ, Frantar et al. 2022). For a row w that is rounded to v the error of its outputs is (w - v) H (w - v)^T.
//
// Beside it the sum of original x now^T, for inputs that drift: those of the original model, and those of the model as
// quantized so far. Tokens may weigh by how large the residual stream is that their outputs are added to, and as the
// caller says. Knows no weights. Invariant: the sums depend on the tokens and their order alone, not on threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace prosa::calibrate {

class Hessian {
 public:
  /// `drifts`: the original's inputs are looked at, too.
  Hessian(int64_t width, bool drifts);

  /// original, now: [tokens, width]; `original` is not looked at without drift. residual: [tokens, any width], or none:
  /// a token weighs by the inverse of its mean square, as the next norm divides by that, and errors as well.
  /// token_weights: [tokens], what it weighs beside that, or none: one.
  void add(std::span<const float> original, std::span<const float> now, std::span<const float> residual,
           std::span<const float> token_weights, ThreadPool& pool);
  /// Once, after the last add().
  void finish(ThreadPool& pool);

  [[nodiscard]] float mean_diagonal() const;
  /// Adds to the diagonal.
  void damp(float by);

  int64_t size;
  std::vector<float> h;      // [size, size]: sum of now now^T
  std::vector<float> cross;  // [size, size]: sum of original now^T; empty without drift

 private:
  void sum_up(ThreadPool& pool);

  std::vector<float> originals_, nows_;  // what waits: short sequences are summed up together
};

}  // namespace prosa::calibrate
