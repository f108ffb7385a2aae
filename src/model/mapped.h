// Giving back what a process has read of the files that weights lie in.
//
// A page that was looked at counts as memory of the process until somebody says that it is no longer needed. Reading it
// again is allowed: the system keeps it as long as it has room.
#pragma once

#include "model/weights.h"

namespace prosa {

/// No effect on weights that lie in no file.
void release_if_mapped(const Weights& weights, const Matrix& matrix) noexcept;

}  // namespace prosa
