// Formats for a model's matrices under a budget of bytes, by what a text says about each matrix.
//
// Chooses formats, no codes: calibrate() does that with the plan made here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

struct MixedOptions {
  double bits = 4;      // the matrices together are as large as with codes of so many bits ...
  int group_size = 64;  // ... in such groups
  std::function<bool(const std::string& name)> fixed;  // matrices that keep what the base says
  int threads = 0;
  std::function<void(double fraction, std::string_view what)> progress;  // may throw
};

/// A plan over `base` in which each matrix of the main model that is not fixed has 3, 4, 5, 6 or 8 bits in groups of 64
/// or 128, so that the predictions diverge least. The multi-token-prediction head stays as `base` says, and so does
/// what it folds. Errors: invalid_argument (a budget that no formats keep), and what `progress` throws.
std::shared_ptr<const checkpoint::ConvertPlan> mix_formats(const Weights& weights,
                                                           std::span<const std::vector<int32_t>> sequences,
                                                           std::shared_ptr<const checkpoint::ConvertPlan> base,
                                                           const MixedOptions& options);

}  // namespace prosa::calibrate
