// What becomes of a product's sums. Every element has one writer.
#pragma once

#include "backend/cuda/kernels/common.cuh"

namespace prosa::backend::cuda {

/// Row n of the matrix, token row `row`.
__device__ inline void put(const OutputArgs& out, const PassArgs* pass, int row, int n, float y) {
  if (n >= out.limit) return;
  switch (out.mode) {
    case Output::logits: {
      float* logits = pass->row[row].logits;
      if (logits != nullptr) logits[n] = y;
      return;
    }
    case Output::add: out.out[static_cast<int64_t>(row) * out.stride + n] += y; return;
    default: out.out[static_cast<int64_t>(row) * out.stride + n] = y;
  }
}

/// Output::silu: the same element of a gate tile and of the up tile below it.
__device__ inline void put_pair(const OutputArgs& out, int row, int n, float gate, float up) {
  if (n < out.limit) out.out[static_cast<int64_t>(row) * out.stride + n] = silu(gate) * up;
}

}  // namespace prosa::backend::cuda
