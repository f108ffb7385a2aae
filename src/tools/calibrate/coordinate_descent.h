// Coordinate descent on (w - v) H (w - v)^T from where GPTQ has left the codes (QuantEase, Behdin et al. 2023; here
// scales and biases are among the coordinates).
//
// Knows matrices, no layers. Invariants: no step makes that error larger; a row's result depends on the row, its start
// and H alone.
#pragma once

#include <span>

#include "tools/calibrate/row_codes.h"

namespace prosa::calibrate {

/// `weights` [rows, cols]: what the rows should be; `h` [cols, cols], symmetric, its diagonal above zero; `codes`: the
/// start, and the result after `sweeps` passes over all columns.
void coordinate_descent(std::span<const float> weights, std::span<const float> h, int sweeps, RowCodes& codes);

}  // namespace prosa::calibrate
