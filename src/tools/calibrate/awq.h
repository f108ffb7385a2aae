// AWQ (Lin et al. 2023): columns scaled before they are quantized, and what feeds them scaled back: the norm before a
// mixer or an MLP, the rows of up_proj before down_proj, those of v_proj before o_proj, the gated norm before out_proj.
//
// Chooses scales, no codes. Invariant: without quantization the folded model computes what the original does, up to the
// rounding of norms to the file's type.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// A plan with `base`'s formats that folds. Scales are powers of the columns' mean magnitudes over the text, per input
/// the power with the least rounding error in the formats of `base`; 16-bit matrices ask for none. `tell` is called
/// with a fraction and what is being done, and may throw.
std::shared_ptr<const checkpoint::ConvertPlan> search_awq_scales(
    const Weights& weights, std::span<const std::vector<int32_t>> sequences,
    std::shared_ptr<const checkpoint::ConvertPlan> base, int threads,
    const std::function<void(double, std::string_view)>& tell);

}  // namespace prosa::calibrate
