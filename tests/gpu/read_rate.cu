// How fast the card reads its own memory: the ceiling that the bench counts against, in the same process.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "read_rate.h"

namespace prosa::test {
namespace {

void check(cudaError_t result) {
  if (result == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(result));
  std::exit(1);
}

__global__ void read_kernel(const uint4* data, int64_t count, uint32_t* out) {
  uint32_t sum = 0;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * step < count; i += 4 * step) {
    uint4 v[4];
    for (int u = 0; u < 4; ++u) v[u] = data[i + u * step];
    for (int u = 0; u < 4; ++u) sum += v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  for (; i < count; i += step) sum += data[i].x;
  if (sum == 0x12345678U) *out = sum;
}

}  // namespace

double read_bytes_per_second() {
  constexpr int64_t kBytes = int64_t{4} << 30;
  uint4* data = nullptr;
  uint32_t* out = nullptr;
  check(cudaMalloc(&data, kBytes));
  check(cudaMalloc(&out, 4));
  check(cudaMemset(data, 0x5a, kBytes));
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 9; ++i) {
    check(cudaEventRecord(begin));
    read_kernel<<<132 * 8, 512>>>(data, kBytes / 16, out);
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end));
    times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  check(cudaFree(data));
  check(cudaFree(out));
  check(cudaEventDestroy(begin));
  check(cudaEventDestroy(end));
  return static_cast<double>(kBytes) / (times[times.size() / 2] * 1e-3);
}

}  // namespace prosa::test
