// Products with 6-bit weights.
#define PROSA_GEMV_NAME launch_gemv_6
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 6;
}
#include "backend/cuda/kernels/gemv.inl"
