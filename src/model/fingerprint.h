// A number that tells one model from another: saved states belong to the weights that computed them.
//
// Not a checksum of the weights: of every matrix a few places are read, enough to tell apart other checkpoints, other
// quantizations and further training, which touches every matrix. Pure.
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace prosa {

uint64_t fingerprint(const Weights& weights);

}  // namespace prosa
