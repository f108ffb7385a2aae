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

template <typename... Params, typename... Args>
void launch(const Queue& queue, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared, Args&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  same_division(reinterpret_cast<const void*>(kernel));
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = queue.stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = queue.overlap ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...), "a kernel");
}

/// All blocks are resident at once, or nothing is launched.
template <typename... Params, typename... Args>
void launch_resident_grid(cudaStream_t stream, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared,
                          Args&&... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...), "a resident kernel");
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
