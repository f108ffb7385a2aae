// What the build of the mlx backend offers to the rest of src/backend: no word of MLX's own headers.
//
// Part of the program only where CMake found MLX (cmake/Mlx.cmake).
#pragma once

#include <memory>

#include "backend/backend.h"

namespace prosa::backend {

/// Everything by MLX's C++ library: a Mac's GPU, or the CPU where MLX has no GPU. Error(unsupported): libmlx is of
/// another version than prosa was built with, there is no Metal device, or MLX refuses a matrix; out_of_memory.
std::unique_ptr<Backend> make_mlx_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

}  // namespace prosa::backend
