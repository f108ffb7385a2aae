// Sums over a text of what comes into a matrix: x x^T, and the original's inputs with those of the model as quantized
// so far. Tokens may count by how large the residual stream is that their outputs are added to, and as the caller says.
//
// Knows no weights. Invariant: the sums depend on the tokens and their order alone, not on threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace prosa::calibrate {

class Moments {
 public:
  /// `drifts`: the original's inputs count too.
  Moments(int64_t width, bool drifts);

  /// original, now: [tokens, width]; `original` is not looked at without drift. residual: [tokens, any width], or none:
  /// a token counts by the inverse of its mean square, as the next norm divides by that, and errors as well.
  /// counts: [tokens], what it counts beside that, or none: one.
  void add(std::span<const float> original, std::span<const float> now, std::span<const float> residual,
           std::span<const float> counts, ThreadPool& pool);
  /// Once, after the last add().
  void finish(ThreadPool& pool);

  [[nodiscard]] float mean_square() const;
  /// Adds to the diagonal.
  void damp(float by);

  int64_t size;
  std::vector<float> own;    // [size, size]: sum of now now^T
  std::vector<float> cross;  // [size, size]: sum of original now^T; empty without drift

 private:
  void sum_up(ThreadPool& pool);

  std::vector<float> originals_, nows_;  // what waits: short sequences are summed up together
};

}  // namespace prosa::calibrate
