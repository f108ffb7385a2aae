// Where the kernels of single tokens find an item's rows, and the kernel for many items.
#pragma once

#include "backend/cuda/kernels/delta.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

inline constexpr int kMaxKept = 32;  // rows that an item keeps a layer

/// Row t of an item's products: in the pass's buffer, or kept.
struct RowSource {
  const float* base;
  int64_t stride;
  __device__ const float* row(int t) const { return base + t * stride; }
};

__device__ inline RowSource source_of(const DeltaArgs& args, const ItemArgs& item, int layer) {
  if (args.replay) return {item.keep + static_cast<int64_t>(layer) * kMaxKept * args.shape.stride, args.shape.stride};
  return {args.rows + static_cast<int64_t>(item.first) * args.shape.stride, args.shape.stride};
}

/// delta_many.cu; false: not for this pass, nothing is launched.
bool launch_delta_many(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items);

}  // namespace prosa::backend::cuda
