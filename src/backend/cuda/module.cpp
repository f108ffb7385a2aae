// The module's two doors. C names, so that the loader finds them; what passes through is the C++ of one build: the
// version function says whether it is.
#include "backend/cuda/cuda.h"

extern "C" {

int prosa_cuda_module_version() { return prosa::backend::cuda::kModuleVersion; }

/// The caller owns what `made` then points to. Errors pass as prosa::Error.
void prosa_make_cuda_backend(const std::shared_ptr<const prosa::Weights>* weights,
                             const prosa::backend::BackendOptions* options,
                             std::unique_ptr<prosa::backend::Backend>* made) {
  *made = prosa::backend::cuda::make_module_backend(*weights, *options);
}
}
