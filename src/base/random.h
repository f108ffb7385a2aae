// Random numbers of the system, that nobody can foresee. Not the sampler's, which are a function of their seed
// (sampling/random.h).
#pragma once

#include <cstdint>

namespace prosa {

/// Error(io) when the system gives none.
uint64_t random_number();

}  // namespace prosa
