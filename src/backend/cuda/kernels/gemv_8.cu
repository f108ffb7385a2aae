// Products with 8-bit weights.
#define PROSA_GEMV_NAME launch_gemv_8
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 8;
}
#include "backend/cuda/kernels/gemv.inl"
