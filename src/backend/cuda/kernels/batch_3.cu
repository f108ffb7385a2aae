// Products with 3-bit weights.
#define PROSA_BATCH_NAME launch_batch_3
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 3;
}
#include "backend/cuda/kernels/batch.inl"
