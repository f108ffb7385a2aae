// The resident decode kernel for one bit width, in groups of 64 and 128: included by resident_N.cu with kInstanceBits
// and the functions' names defined.
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

}  // namespace

int PROSA_RESIDENT_SLOTS(int shared_bytes) {
  auto* const kernel = resident_kernel<kInstanceBits, false>;
  constexpr int kSlot = slot_bytes<kInstanceBits, false>();
  const int slots = min((shared_bytes - kFixedBytes) / kSlot, kMaxSlots);
  if (slots < kPieceShares) return 0;
  const int bytes = kFixedBytes + slots * kSlot;
  allow_shared(kernel, bytes);
  int resident = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kResidentThreads + 32, bytes), "occupancy");
  return resident > 0 ? slots : 0;
}

void PROSA_RESIDENT_LAUNCH(cudaStream_t stream, const ResidentArgs& args, int blocks) {
  launch_resident_grid(stream, resident_kernel<kInstanceBits, false>, dim3(blocks), dim3(kResidentThreads + 32),
                       kFixedBytes + args.slots * slot_bytes<kInstanceBits, false>(), args);
}

}  // namespace prosa::backend::cuda
