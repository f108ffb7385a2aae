// The CUDA backend as its module makes it, and what the rest of the program needs to know to load that module.
//
// The module libprosa_cuda.so holds everything that needs CUDA, so that one program runs with and without a driver.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace prosa::backend::cuda {

/// What a program and a module must agree on; raised with every change of backend.h or of these functions.
inline constexpr int kModuleVersion = 2;
inline constexpr char kModuleName[] = "libprosa_cuda.so";
inline constexpr char kMakeFunction[] = "prosa_make_cuda_backend";
inline constexpr char kVersionFunction[] = "prosa_cuda_module_version";

/// Error(unsupported): no driver, too old a driver, no card that these kernels run on. Error(out_of_memory).
std::unique_ptr<Backend> make_module_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

}  // namespace prosa::backend::cuda
