// The resident decode kernel for 4-bit weights.
#define PROSA_RESIDENT_SLOTS resident_slots_4
#define PROSA_RESIDENT_LAUNCH launch_resident_4
namespace prosa::backend::cuda {
inline constexpr int kInstanceBits = 4;
}
#include "backend/cuda/kernels/resident.inl"
