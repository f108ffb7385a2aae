// Which bit width a product of 5 to 64 rows needs.
#include "backend/cuda/kernels/batch.h"

namespace prosa::backend::cuda {

#define PROSA_DECLARE_BATCH(bits)                                                                                   \
  void launch_batch_##bits(const Queue& queue, const DeviceMatrix& m, const BatchInputs& in, const OutputArgs& out, \
                           const PassArgs* pass, int max_rows);
PROSA_DECLARE_BATCH(2)
PROSA_DECLARE_BATCH(3)
PROSA_DECLARE_BATCH(4)
PROSA_DECLARE_BATCH(5)
PROSA_DECLARE_BATCH(6)
PROSA_DECLARE_BATCH(8)
#undef PROSA_DECLARE_BATCH

bool batch_supported(const Queue& queue, const DeviceMatrix& m) {
  constexpr int kTilesASlice = 4;
  return queue.hopper && m.format == Format::quantized && m.group != 32 && m.per_slice == kTilesASlice;
}

void launch_batch(const Queue& queue, const DeviceMatrix& m, const BatchInputs& in, const OutputArgs& out,
                  const PassArgs* pass, int max_rows) {
  switch (m.bits) {
    case 2: return launch_batch_2(queue, m, in, out, pass, max_rows);
    case 3: return launch_batch_3(queue, m, in, out, pass, max_rows);
    case 4: return launch_batch_4(queue, m, in, out, pass, max_rows);
    case 5: return launch_batch_5(queue, m, in, out, pass, max_rows);
    case 6: return launch_batch_6(queue, m, in, out, pass, max_rows);
    default: return launch_batch_8(queue, m, in, out, pass, max_rows);
  }
}

}  // namespace prosa::backend::cuda
