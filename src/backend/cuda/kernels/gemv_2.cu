// Products with 2-bit weights.
#define PROSA_GEMV_NAME launch_gemv_2
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 2;
}
#include "backend/cuda/kernels/gemv.inl"
