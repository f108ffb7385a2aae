// Products with 3-bit weights.
#define PROSA_GEMV_NAME launch_gemv_3
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 3;
}
#include "backend/cuda/kernels/gemv.inl"
