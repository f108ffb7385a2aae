// The objective of quantizing a matrix layer by layer, ready for its rows: the damped Hessian of the output error, its
// Cholesky factor, and the correction for inputs that drift; and choosing codes by it.
//
// Drift: the inputs of the model as quantized so far, x', are not the original's x. The weights that come nearest to
// the original's outputs are W (sum x x'^T) (H + damping)^-1 (GPTAQ, Li et al. 2025). Knows matrices, no layers.
// Invariant: constant after make_objective() made it; safe for any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "tools/calibrate/cholesky.h"
#include "tools/calibrate/hessian.h"
#include "tools/calibrate/row_codes.h"
#include "tools/calibrate/sublayer.h"

namespace prosa::calibrate {

inline constexpr float kDamping = 0.1F;           // of the mean of H's diagonal, added to the diagonal
inline constexpr float kEmbeddingDamping = 2.0F;  // of an embedding that is the head too: its rows are inputs as well

struct LayerObjective {
  std::vector<float> h;      // [width, width]: damped
  CholeskyFactor factor;     // of h
  std::vector<float> shift;  // [width, width]: W <- W + W shift^T follows the drift; empty without drift
};

/// `hessian` is used up. damping: of the mean of the diagonal, added to it. drift: how far the rows go towards those
/// that make the original's outputs out of now's inputs, 0 to 1. Error(bad_checkpoint) with `name`: inputs that are no
/// finite numbers.
LayerObjective make_objective(Hessian& hessian, float damping, float drift, const std::string& name, ThreadPool& pool);

/// Rows of a matrix: GPTQ, then coordinate descent.
void choose_codes(std::span<const float> weights, const LayerObjective& objective, RowCodes& codes);

/// All rows of a matrix, some at a time, so that it never lies in memory as float32.
std::shared_ptr<StoredRows> choose_matrix(const NamedMatrix& named, const WeightFormat& format, int threads,
                                          const ChooseCodes& choose);

}  // namespace prosa::calibrate
