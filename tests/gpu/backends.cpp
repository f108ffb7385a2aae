// The backends that the programs of this folder know: the one under test and the reference. They need nothing of the
// rest of the library.
#include "backend/backend.h"
#include "backend/cuda/cuda.h"
#include "prosa/error.h"

namespace prosa::backend {

std::unique_ptr<Backend> make_backend(std::string_view name, const std::shared_ptr<const Weights>& weights,
                                      const BackendOptions& options) {
  if (name == "cuda") return cuda::make_module_backend(weights, options);
  if (name == "reference") return make_reference_backend(weights, options);
  throw Error(ErrorCode::unsupported, "unknown backend '" + std::string(name) + "'", "backend");
}

}  // namespace prosa::backend
