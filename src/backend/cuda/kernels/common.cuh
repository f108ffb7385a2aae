// What all kernels use: fixed-order sums of a warp, matrix instructions, waiting for the kernel before.
//
// Nothing here depends on how many warps or rows a kernel has: a row's bits are the same wherever it is computed. No
// product and sum are fused unless the code says so (the module is compiled with -fmad=false).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "backend/cuda/kernels/types.h"

namespace prosa::backend::cuda {

/// Lets the next kernel of the stream begin with what does not depend on this one: its weights. Said once this kernel's
/// own inputs are there, not sooner: kernels that wait fill the multiprocessors, and blocks that come later are then
/// packed onto few of them (measured: docs/measurements/cuda.md).
__device__ inline void signal_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// Everything that earlier kernels wrote is visible after this. Before it: constants only.
__device__ inline void wait_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <int kLanes = 32>
__device__ inline float sum_lanes(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffU, x, step);
  return x;
}

/// Over groups of `lanes` neighbours, a power of two.
__device__ inline float sum_group(float x, int lanes) {
  for (int step = lanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffU, x, step);
  return x;
}
__device__ inline float max_group(float x, int lanes) {
  for (int step = lanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, step));
  return x;
}

// The short forms of exp and division: within 2^-20 of the value, and a few instructions instead of dozens.
__device__ inline float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }
__device__ inline float silu(float x) { return __fdividef(x, 1.0F + __expf(-x)); }
__device__ inline float softplus(float x) { return x > 20.0F ? x : log1pf(expf(x)); }

__device__ inline uint4 load_stream(const uint4* p) {  // read once: leaves the L1 to what is read again
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
__device__ inline uint2 load_stream(const uint2* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
__device__ inline uint32_t load_stream(const uint32_t* p) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}

// Words that other blocks of the same kernel read and write: straight from and to the cache that all share, each word
// in one piece.
__device__ inline void store_word(uint64_t* p, uint64_t v) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
__device__ inline uint64_t load_word(const uint64_t* p) {
  uint64_t v;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
  return v;
}
__device__ inline void load_words(const uint64_t* p, uint64_t (&v)[2]) {  // 16 bytes on
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0,%1}, [%2];" : "=l"(v[0]), "=l"(v[1]) : "l"(p) : "memory");
}
/// Flags that the host may look at too.
__device__ inline void store_flag(uint32_t* p, uint32_t v) {
  asm volatile("st.relaxed.sys.global.b32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ inline uint32_t load_flag(const uint32_t* p) {
  uint32_t v;
  asm volatile("ld.relaxed.sys.global.b32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

/// Four numbers of shared memory where this stands, not where the compiler would rather keep them.
__device__ inline float4 load_shared_four(const float* p) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(shared_address(p)));
  return v;
}

/// A barrier of the first `threads` threads of a block that meet at it (whole warps; index 0 is __syncthreads()'s).
template <int kIndex, int kThreadsThere>
__device__ inline void meet() {
  asm volatile("bar.sync %0, %1;" ::"n"(kIndex), "n"(kThreadsThere) : "memory");
}

/// d += a b: unsigned 8-bit weights [16][32] times signed 8-bit inputs [32][8].
__device__ inline void mma_u8s8(int (&d)[4], const uint32_t* a, uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}
__device__ inline void load_matrices_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

/// 16 bytes from global to shared memory; zeros when not `valid`.
__device__ inline void copy_async(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(valid ? 16 : 0));
}
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;"); }
template <int kPending>
__device__ inline void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending));
}

/// Saturated: a value beyond f16 stays the largest one.
__device__ inline float f16_range(float x) { return fminf(fmaxf(x, -65504.0F), 65504.0F); }
__device__ inline uint32_t pack_f16(float low, float high) {
  const __half2 pair = __floats2half2_rn(f16_range(low), f16_range(high));
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// Where element (row, col) of an f16 matrix for passes of many rows lies, in halves: tiles of 64 x 64, rows of 128
/// bytes whose 16-byte pieces are turned by the row. So a tile is one copy, and eight rows of a column meet eight
/// banks.
__device__ inline int64_t tiled_at(int64_t row, int col, int k_tiles) {
  return ((row / 64) * k_tiles + col / 64) * 4096 + row % 64 * 64 + (((col % 64) / 8) ^ static_cast<int>(row % 8)) * 8 +
         col % 8;
}

__device__ inline float2 unpack_scale(uint32_t pair, ScaleType type) {
  if (type == ScaleType::bf16) return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U)};
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

}  // namespace prosa::backend::cuda
