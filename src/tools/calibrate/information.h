// What a text says about the inputs of matrices, ready for their rows: second-order information, factored, and how rows
// are chosen with it.
//
// Knows matrices, no layers. Invariant: constant after learn() made it; safe for any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "tools/calibrate/factor.h"
#include "tools/calibrate/layer_pass.h"
#include "tools/calibrate/moments.h"
#include "tools/calibrate/row_codes.h"

namespace prosa::calibrate {

inline constexpr float kDamping = 0.1F;           // of the mean of H's diagonal, added to the diagonal
inline constexpr float kEmbeddingDamping = 2.0F;  // of an embedding that is the head too: its rows are inputs as well

struct Information {
  std::vector<float> h;      // [width, width]: damped
  Factor factor;             // of h
  std::vector<float> shift;  // [width, width]: W <- W + W shift^T follows the drift; empty without drift
};

/// `moments` is used up. damping: of the mean of the diagonal, added to it. drift: how far the rows go towards those
/// that make the original's outputs out of now's inputs, 0 to 1. Error(bad_checkpoint) with `name`: inputs that are no
/// finite numbers.
Information learn(Moments& moments, float damping, float drift, const std::string& name, ThreadPool& pool);

/// Rows of a matrix with error feedback and descent.
void choose_codes(std::span<const float> weights, const Information& information, RowCodes& codes);

/// All rows of a matrix, some at a time, so that it never lies in memory as float32.
std::shared_ptr<StoredRows> choose_matrix(const NamedMatrix& named, const WeightFormat& format, int threads,
                                          const ChooseCodes& choose);

}  // namespace prosa::calibrate
