// Products with 6-bit weights.
#define PROSA_BATCH_NAME launch_batch_6
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 6;
}
#include "backend/cuda/kernels/batch.inl"
