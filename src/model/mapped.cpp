// Data, scales and biases of one matrix.
#include "model/mapped.h"

#include "base/mmap.h"

namespace prosa {

void release_if_mapped(const Weights& weights, const Matrix& matrix) noexcept {
  if (weights.storage == nullptr) return;
  const int64_t scales = matrix.rows * matrix.groups() * matrix.format.scale_bytes();
  release_pages({matrix.data, static_cast<size_t>(matrix.rows * matrix.format.row_bytes(matrix.cols))});
  if (scales == 0) return;
  release_pages({matrix.scales, static_cast<size_t>(scales)});
  if (matrix.biases != nullptr) release_pages({matrix.biases, static_cast<size_t>(scales)});
}

}  // namespace prosa
