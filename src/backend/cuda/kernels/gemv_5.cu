// Products with 5-bit weights.
#define PROSA_GEMV_NAME launch_gemv_5
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 5;
}
#include "backend/cuda/kernels/gemv.inl"
