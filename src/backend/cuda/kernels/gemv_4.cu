// Products with 4-bit weights.
#define PROSA_GEMV_NAME launch_gemv_4
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 4;
}
#include "backend/cuda/kernels/gemv.inl"
