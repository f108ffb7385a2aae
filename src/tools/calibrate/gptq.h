// GPTQ (Frantar et al. 2022): codes for the rows of a matrix so that what rounding one column gets wrong, later columns
// make good. In the form that needs no inverse (LDLQ, Chee et al. 2023): with H = U D U^T column k is rounded from
// w[k] + sum over j < k of (w[j] - v[j]) U[j][k]. And the search without that feedback, which `clip` and AWQ use.
//
// Knows matrices, no layers. Invariant: a row's codes depend on that row and the factor alone, so that rows may be done
// by any thread.
#pragma once

#include <span>
#include <vector>

#include "tools/calibrate/cholesky.h"
#include "tools/calibrate/row_codes.h"

namespace prosa::calibrate {

/// `weights` [rows, cols]: what the rows should be. With error feedback: columns from the first to the last, each
/// group's scale searched when its turn comes, weighted by factor.d.
void gptq(std::span<const float> weights, const CholeskyFactor& factor, RowCodes& codes);

/// The same without feedback: each group for itself, its columns weighted by `importance` [cols].
void clip_search(std::span<const float> weights, std::span<const float> importance, RowCodes& codes);

/// Importance out of sums of squares [cols], with a floor so that columns nobody uses have weight too.
std::vector<float> importance_of(std::span<const double> squares);

/// Sum of importance * (weight - value)^2 over rows [rows, cols] that clip_search() has rounded to `format`.
double rounding_error(std::span<const float> rows, std::span<const float> importance, const WeightFormat& format);

}  // namespace prosa::calibrate
