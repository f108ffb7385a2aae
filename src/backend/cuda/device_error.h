// A CUDA call's result as a prosa::Error. Kept apart so that kernels need nothing else of the host.
#pragma once

#include <driver_types.h>

namespace prosa::backend::cuda {

/// Throws what `result` says happened to `what`: out_of_memory, unsupported (no driver, too old, no kernel for this
/// card), or io: the card is lost to this process, every later call fails the same way.
[[noreturn]] void fail(cudaError_t result, const char* what);
inline void check(cudaError_t result, const char* what) {
  if (result != cudaSuccess) [[unlikely]]
    fail(result, what);
}

}  // namespace prosa::backend::cuda
