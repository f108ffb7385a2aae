// What a token of the text weighs in a Hessian: more where the original's prediction is uncertain.
//
// The KL divergence of softmax(z + d) from p = softmax(z) is d^T F d / 2 to second order, with the Fisher information
// of the logits F = diag(p) - p p^T. For errors of one size that are independent between the outputs this is half of
// their square times the trace of F, 1 - sum p^2: the Gini impurity of p. Where the next token is certain no error is
// seen. Invariant: each token's number depends on that token alone, not on threads.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// The Gini impurity 1 - sum p^2 of each token's prediction, in [0, 1).   states: [sequences][tokens, hidden], what
/// comes into the head. `plan` may be null: nothing is folded. `tell` is called with a fraction and may throw.
std::vector<std::vector<float>> gini_impurity(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                              std::span<const std::vector<float>> states, ThreadPool& pool,
                                              const std::function<void(double)>& tell);

/// One on average; half of it is the same for all tokens, and half goes by the impurity. (If all of it did, too few
/// tokens of a text would be left to learn from.)
std::vector<std::vector<float>> token_weights(std::vector<std::vector<float>> impurity);

}  // namespace prosa::calibrate
