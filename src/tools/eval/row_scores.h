// One row of logits, or two of them side by side: log-likelihood of the true token, likeliest token, KL.
//
// Pure functions of their rows: no state, no threads. Written in plain loops over short arrays with a fixed number of
// partial sums, which compilers turn into vector code without changing a bit. Logits count up to a constant of the row.
#pragma once

#include <cstdint>
#include <span>

namespace prosa::eval {

struct RowScore {
  bool finite = false;  // all logits are numbers; if not, nothing else here is valid
  float top = 0;        // the largest logit
  int32_t top1 = 0;     // where it stands, the first of equals
  double log_sum = 0;   // log(sum e^(logit - top))
  double nll = 0;       // -log softmax[truth], nats
};

/// logits [vocab], truth in [0, vocab).
RowScore score_row(std::span<const float> logits, int32_t truth);

/// KL(P || Q) in nats, P = softmax(reference), Q = softmax(model), both [vocab] and scored. Never negative; exactly 0
/// for equal rows; small values are as precise as large ones.
double kl_of_rows(std::span<const float> reference, const RowScore& reference_score, std::span<const float> model,
                  const RowScore& model_score);

}  // namespace prosa::eval
