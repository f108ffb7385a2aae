// The delta rule in chunks.
#include "backend/cuda/kernels/common.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {

bool chunk_supported(const DeltaShape& /*shape*/) { return false; }
void launch_chunks(const Queue& /*queue*/, const ChunkArgs& /*args*/) {}

}  // namespace prosa::backend::cuda
