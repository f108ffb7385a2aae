// Products with 2-bit weights.
#define PROSA_BATCH_NAME launch_batch_2
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 2;
}
#include "backend/cuda/kernels/batch.inl"
