// Backends by name. Knows that they exist and nothing about how they work.
#include "backend/backend.h"

#include <fmt/format.h>

#ifdef PROSA_HAS_MLX
#include "backend/mlx/mlx.h"
#endif
#include "prosa/error.h"

namespace prosa::backend {
namespace {
#ifdef PROSA_HAS_MLX
constexpr bool kHasMlx = true;
#else
constexpr bool kHasMlx = false;
#endif
}  // namespace

std::unique_ptr<Backend> make_backend(std::string_view name, const std::shared_ptr<const Weights>& weights,
                                      const BackendOptions& options) {
  const auto checked = [&weights](std::unique_ptr<Backend> backend) {
    weights->require_intact();  // what was packed is what the files hold
    return backend;
  };
  if (name == "cpu") return checked(make_cpu_backend(weights, options));
  if (name == "cuda") return checked(make_cuda_backend(weights, options));
  if (name == "reference") return checked(make_reference_backend(weights, options));
#ifdef PROSA_HAS_MLX
  if (name == "mlx") return checked(make_mlx_backend(weights, options));
#endif
  throw Error(ErrorCode::unsupported, fmt::format("unknown backend '{}'", name), "backend",
              fmt::format("known backends: cpu, cuda, {}reference", kHasMlx ? "mlx, " : ""));
}

}  // namespace prosa::backend
