// How open the original's predictions are, and what a token of the text counts for that.
//
// The divergence of softmax(z + d) from p = softmax(z) is half the variance of d under p, to second order: for errors
// of one size, independent between the outputs, half of its square times 1 - sum p^2. Where the next token is certain
// no error is seen. Invariant: each token's number depends on that token alone, not on threads.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// 1 - sum p^2 of each token's prediction, in [0, 1).   states: [sequences][tokens, hidden], what comes into the head.
/// `plan` may be null: nothing is folded. `tell` is called with a fraction and may throw.
std::vector<std::vector<float>> openness(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                         std::span<const std::vector<float>> states, ThreadPool& pool,
                                         const std::function<void(double)>& tell);

/// One on average; half of it is the same for all tokens, and half goes by their openness. (If all of it did, too few
/// tokens of a text would be left to learn from.)
std::vector<std::vector<float>> counts_of(std::vector<std::vector<float>> open);

}  // namespace prosa::calibrate
