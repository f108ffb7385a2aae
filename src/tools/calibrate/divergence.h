// The Kullback-Leibler divergence of two rows of logits that come in pieces of the vocabulary, so that neither has to
// be held as a whole.
//
// Invariant: the result depends on the pieces' order and size, not on threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace prosa::calibrate {

class Divergence {
 public:
  explicit Divergence(int64_t tokens) : rows_(static_cast<size_t>(tokens)) {}

  /// expected, seen: [tokens, outputs], logits of the same piece.
  void add(std::span<const float> expected, std::span<const float> seen, int64_t outputs, ThreadPool& pool);
  /// KL(softmax(expected) || softmax(seen)), nats, mean over the tokens.
  [[nodiscard]] double mean() const;

 private:
  struct Row {
    float expected_top = -1e30F;
    float seen_top = -1e30F;
    double expected_sum = 0;  // of exp(expected - expected_top)
    double seen_sum = 0;
    double weighted = 0;  // of exp(expected - expected_top) * (expected - seen)
  };
  static void add_row(std::span<const float> expected, std::span<const float> seen, Row& row);

  std::vector<Row> rows_;  // [tokens]
};

}  // namespace prosa::calibrate
