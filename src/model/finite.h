// Whether the numbers of a matrix are numbers: what training that went wrong, or a damaged file, leaves behind.
//
// Looks at the stored form: dense values, or the scales and biases of codes. Reads every byte of them once.
#pragma once

#include "model/weights.h"

namespace prosa {

/// Error(bad_checkpoint) that names the tensor and the place of a value that is infinite or not a number. Uses up to
/// `threads` threads; 0: those of the machine.
void require_finite(const Weights& weights, int threads);

}  // namespace prosa
