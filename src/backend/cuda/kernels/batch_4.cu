// Products with 4-bit weights.
#define PROSA_BATCH_NAME launch_batch_4
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 4;
}
#include "backend/cuda/kernels/batch.inl"
