// The resident decode kernel's instances, a format each, and their launch. Built for sm_90a; elsewhere
// resident_built() says no.
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/resident.cuh"

namespace prosa::backend::cuda {
namespace {

/// Shared memory: BlockShared, then the ring.
constexpr int kFixedBytes = (static_cast<int>(sizeof(BlockShared)) + 127) / 128 * 128;

template <int kBits, bool kGroup32>
__global__ __launch_bounds__(kResidentThreads + 32, 1) void resident_kernel(const __grid_constant__ ResidentArgs args) {
#ifdef PROSA_WGMMA
  extern __shared__ __align__(128) uint8_t memory[];
  BlockShared& shared = *reinterpret_cast<BlockShared*>(memory);
  prepare_block(args, shared);
  __syncthreads();
  ResidentBlock<kBits, kGroup32> block(args, shared, memory + kFixedBytes);
  if (threadIdx.x < kResidentThreads) {
    block.compute();
  } else if (threadIdx.x == kResidentThreads) {
    block.fetch();
  }
#endif
}

/// Calls `with` with the kernel of a format and the bytes of its slots; returns 0 where there is none.
template <typename With>
int with_kernel(int bits, int group, const With& with) {
  if (group == 32) return 0;
  if (bits == 4) return with(resident_kernel<4, false>, slot_bytes<4, false>());
  if (bits == 8) return with(resident_kernel<8, false>, slot_bytes<8, false>());
  return 0;
}

}  // namespace

bool resident_built(int bits, int group) {
  return hopper_built() && with_kernel(bits, group, [](auto*, int) { return 1; }) != 0;
}

int resident_slots(int bits, int group, int shared_bytes) {
  return with_kernel(bits, group, [&](auto* kernel, int slot) {
    const int slots = min((shared_bytes - kFixedBytes) / slot, kMaxSlots);
    if (slots < kPieceShares) return 0;
    const int bytes = kFixedBytes + slots * slot;
    allow_shared(kernel, bytes);
    int resident = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kResidentThreads + 32, bytes), "occupancy");
    return resident > 0 ? slots : 0;
  });
}

void launch_resident(cudaStream_t stream, const ResidentArgs& args, int bits, int group, int blocks) {
  with_kernel(bits, group, [&](auto* kernel, int slot) {
    launch_resident_grid(stream, kernel, dim3(blocks), dim3(kResidentThreads + 32), kFixedBytes + args.slots * slot,
                         args);
    return 1;
  });
}

}  // namespace prosa::backend::cuda
