// Codes for the rows of a matrix under second-order information: what rounding one column gets wrong, later columns
// make good (GPTQ: Frantar et al. 2022; in the form without an inverse of Chee et al. 2023).
//
// Knows matrices, no layers. Invariant: a row's codes depend on that row and the information alone, so that rows may be
// done by any thread.
#pragma once

#include <span>
#include <vector>

#include "tools/calibrate/factor.h"
#include "tools/calibrate/row_codes.h"

namespace prosa::calibrate {

/// `weights` [rows, cols]: what the rows should be. With error feedback: columns from the first to the last, each
/// group's scale searched when its turn comes, weighted by factor.d.
void feed_back(std::span<const float> weights, const Factor& factor, RowCodes& codes);

/// The same without feedback: each group for itself, its columns weighted by `importance` [cols].
void clip(std::span<const float> weights, std::span<const float> importance, RowCodes& codes);

/// Importance out of sums of squares [cols], with a floor so that columns nobody uses have weight too.
std::vector<float> importance_of(std::span<const double> squares);

/// Sum of importance * (weight - value)^2 over rows [rows, cols] that clip() has rounded to `format`.
double rounding_error(std::span<const float> rows, std::span<const float> importance, const WeightFormat& format);

}  // namespace prosa::calibrate
