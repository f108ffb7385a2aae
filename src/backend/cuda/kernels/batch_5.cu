// Products with 5-bit weights.
#define PROSA_BATCH_NAME launch_batch_5
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 5;
}
#include "backend/cuda/kernels/batch.inl"
