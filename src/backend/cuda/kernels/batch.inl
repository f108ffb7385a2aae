// Instances of batch.cuh for one bit width: included by batch_N.cu with kInstanceBits and PROSA_BATCH_NAME defined.
#include <algorithm>

#include "backend/cuda/kernels/batch.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

constexpr int kBatchShared = 226 * 1024;  // of a block on Hopper, but for what it declares itself

/// As many blocks a unit as give every multiprocessor one, each with two slices at least, one for each group of warps.
template <int kN>
BatchPlan plan_of(const Queue& queue, const DeviceMatrix& m, int units) {
  constexpr int kMost = (kBatchShared - 1024) / batch_slice_bytes<kN>();
  constexpr int kMaxCluster = 4;  // larger ones do not all fit at once
  const int wanted = std::clamp(queue.processors / units, 1, kMaxCluster);
  BatchPlan plan;
  for (plan.shift = m.slices > 1 ? 1 : 0; (2 << plan.shift) <= kMost; ++plan.shift) {
    if ((m.slices + (1 << plan.shift) - 1) >> plan.shift <= wanted) break;
  }
  plan.blocks = (m.slices + (1 << plan.shift) - 1) >> plan.shift;
  return plan;
}

template <int kN>
void start(const Queue& queue, const DeviceMatrix& m, const BatchInputs& in, const OutputArgs& out,
           const PassArgs* pass) {
  const int units = (m.rows / kTileRows + kUnitTileRows - 1) / kUnitTileRows;
  const BatchPlan plan = plan_of<kN>(queue, m, units);
  const int shared = (batch_slice_bytes<kN>() << plan.shift) + 1024;
  auto* const kernel = batch_kernel<kInstanceBits, kN>;
  allow_shared(kernel, static_cast<size_t>(shared));
  const int blocks = std::min(units, std::max(queue.processors / plan.blocks, 1)) * plan.blocks;
  launch_clusters(queue, kernel, dim3(blocks), dim3(kBatchGroups * 128), shared, plan.blocks, m, in, out, plan, pass);
}

}  // namespace

void PROSA_BATCH_NAME(const Queue& queue, const DeviceMatrix& m, const BatchInputs& in, const OutputArgs& out,
                      const PassArgs* pass, int max_rows) {
  if (batch_planes(max_rows) == 64) return start<64>(queue, m, in, out, pass);
  start<128>(queue, m, in, out, pass);
}

}  // namespace prosa::backend::cuda
