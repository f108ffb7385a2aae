// Which format has a resident decode kernel. Built for sm_90a; elsewhere resident_built() says no.
#include "backend/cuda/kernels/resident.h"

namespace prosa::backend::cuda {

int resident_slots_4(int shared_bytes);
int resident_slots_8(int shared_bytes);
void launch_resident_4(cudaStream_t stream, const ResidentArgs& args, int blocks);
void launch_resident_8(cudaStream_t stream, const ResidentArgs& args, int blocks);

bool resident_built(int bits, int group) { return hopper_built() && group != 32 && (bits == 4 || bits == 8); }

int resident_slots(int bits, int shared_bytes) {
  return bits == 4 ? resident_slots_4(shared_bytes) : resident_slots_8(shared_bytes);
}

void launch_resident(cudaStream_t stream, const ResidentArgs& args, int bits, int blocks) {
  if (bits == 4) return launch_resident_4(stream, args, blocks);
  launch_resident_8(stream, args, blocks);
}

}  // namespace prosa::backend::cuda
