// Products with 8-bit weights.
#define PROSA_BATCH_NAME launch_batch_8
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 8;
}
#include "backend/cuda/kernels/batch.inl"
