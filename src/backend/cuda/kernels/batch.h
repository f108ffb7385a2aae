// Products of 5 to 64 rows on Hopper (batch.cuh) as host functions, and how they want their inputs.
#pragma once

#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

/// A token's two planes are neighbours, high before low; batch_planes() says how many planes a segment has room for.
struct BatchInputs {
  const uint8_t* tiles = nullptr;  // [segments of 128 columns][planes][128 bytes], see quantize_turned()
  const float2* scales = nullptr;  // [groups of 64 columns][kMaxRows]
  const float* factors = nullptr;  // [row] of all sums
};

/// Planes of a pass of so many rows.
inline int batch_planes(int max_rows) { return max_rows <= 32 ? 64 : 128; }
bool batch_supported(const Queue& queue, const DeviceMatrix& m);
void launch_batch(const Queue& queue, const DeviceMatrix& m, const BatchInputs& in, const OutputArgs& out,
                  const PassArgs* pass, int max_rows);

}  // namespace prosa::backend::cuda
