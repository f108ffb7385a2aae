// Launching with or without overlap. Included by the .cu files only.
#pragma once

#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <utility>

#include "backend/cuda/device_error.h"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

/// Every kernel asks for the same division between cache and shared memory: kernels of different ones cannot overlap.
inline void same_division(const void* kernel) {
  static std::mutex mutex;
  static std::set<const void*> done;
  const std::lock_guard lock(mutex);
  if (!done.insert(kernel).second) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        "shared memory");
}

/// `cluster`: so many blocks next to each other see each other's shared memory.
template <typename... Params, typename... Args>
void launch_clusters(const Queue& queue, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared, int cluster,
                     Args&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  same_division(reinterpret_cast<const void*>(kernel));
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = queue.stream;
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (queue.overlap) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs].val.clusterDim.x = static_cast<unsigned>(cluster);
    attributes[config.numAttrs].val.clusterDim.y = 1;
    attributes[config.numAttrs++].val.clusterDim.z = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...), "a kernel");
}

template <typename... Params, typename... Args>
void launch(const Queue& queue, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared, Args&&... args) {
  launch_clusters(queue, kernel, grid, block, shared, 1, std::forward<Args>(args)...);
}

/// More than 48 KiB of shared memory has to be asked for, once a kernel and process.
template <typename Kernel>
void allow_shared(Kernel* kernel, size_t bytes) {
  if (bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "shared memory");
  }
}

}  // namespace prosa::backend::cuda
