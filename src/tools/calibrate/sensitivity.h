// What each matrix's rounding does to a model's predictions, and what it would do in other formats.
//
// Measures, chooses nothing. Invariant: on one kind of processor the figures depend on weights and text, not on
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

struct Sensitivity {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<WeightFormat> formats;  // those whose group divides cols
  std::vector<double> divergence;     // [formats]: KL(original || this matrix alone rounded so), nats a token
};

/// With what `plan` folds. By the first tokens of `sequences`: some to choose 4-bit codes by, others to judge them. A
/// sublayer with all of its matrices rounded is followed to the end, and its divergence is shared out by what each
/// matrix alone does to the sublayer's output; from format to format it goes with the matrix's rounding error. `tell`
/// is called with a fraction and what is being done, and may throw.
std::vector<Sensitivity> measure_sensitivity(const Weights& weights, std::span<const std::vector<int32_t>> sequences,
                                             const checkpoint::ConvertPlan& plan, std::span<const WeightFormat> formats,
                                             ThreadPool& pool,
                                             const std::function<void(double, std::string_view)>& tell);

}  // namespace prosa::calibrate
