// The resident decode kernel for 8-bit weights.
#define PROSA_RESIDENT_SLOTS resident_slots_8
#define PROSA_RESIDENT_LAUNCH launch_resident_8
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 8;
}
#include "backend/cuda/kernels/resident.inl"
