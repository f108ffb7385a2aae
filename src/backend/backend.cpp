// Backends by name. Knows that they exist and nothing about how they work.
#include "backend/backend.h"

#include <fmt/format.h>

#include <utility>

#include "prosa/error.h"

namespace prosa::backend {

std::unique_ptr<Backend> make_backend(std::string_view name, std::shared_ptr<const Weights> weights,
                                      const BackendOptions& options) {
  if (name == "cpu") return make_cpu_backend(std::move(weights), options);
  if (name == "cuda") return make_cuda_backend(std::move(weights), options);
  if (name == "reference") return make_reference_backend(std::move(weights), options);
  throw Error(ErrorCode::unsupported, fmt::format("unknown backend '{}'", name), "backend",
              "known backends: cpu, cuda, reference");
}

}  // namespace prosa::backend
