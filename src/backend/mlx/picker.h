// Candidates of rows that lie on the device: changes, mask, the k best, the sum of all. Only the answer leaves it.
//
// The rules are those of backend/candidates.h. On the backend's thread.
#pragma once

#include <mlx/array.h>

#include "backend/candidates.h"

namespace prosa::backend::mlx {

/// The answer to `pick` from a row [vocab].
void pick_on_device(const ::mlx::core::array& row, const Pick& pick, Candidates& answer);

}  // namespace prosa::backend::mlx
