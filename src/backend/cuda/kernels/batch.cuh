// Quantized products of 5 to 64 rows on Hopper: a warp group's four tile rows against all rows of the pass at once, by
// matrix instructions that read the inputs from shared memory. sm_90a only.
//
// The sums are those of gemv.cuh: exact integers inside a group, a slice's groups in order, a tile row's slices in
// order. So a row has the same bits here, alone, and in any company.
#pragma once

#include "backend/cuda/kernels/batch.h"
#include "backend/cuda/kernels/gemv.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace prosa::backend::cuda {

inline constexpr int kBatchGroups = 2;   // groups of four warps in a block
inline constexpr int kUnitTileRows = 4;  // tile rows that a group of warps multiplies at a time
inline constexpr int kUnitRows = kUnitTileRows * kTileRows;
inline constexpr int kBatchPitch = 72;  // floats between two tokens' sums: a warp's stores meet all banks
inline constexpr int kMaxBatchSlices = 16;

/// How the slices are dealt out: a cluster of `blocks` has a unit, each block 1 << shift slices of it.
struct BatchPlan {
  int blocks = 1;
  int shift = 0;
};

/// Bytes of shared memory for a slice: its inputs, their scales, its sums.
template <int kN>
__host__ __device__ constexpr int batch_slice_bytes() {
  return 2 * kN * 128 + kBatchTiles * kMaxRows * 8 + kN / 2 * kBatchPitch * 4;
}

#ifdef PROSA_WGMMA
/// d = a b^T (+ d): a [64][32] unsigned in registers, as mma_u8s8() has them; b [N][32] from a descriptor.
template <int kN>
__device__ void wgmma_u8s8(int (&d)[kN / 8][4], const uint32_t (&a)[4], uint64_t b, int accumulate);

template <>
__device__ inline void wgmma_u8s8<64>(int (&d)[8][4], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p;\n}\n"
      : "+r"(d[0][0]), "+r"(d[0][1]), "+r"(d[0][2]), "+r"(d[0][3]), "+r"(d[1][0]), "+r"(d[1][1]), "+r"(d[1][2]),
        "+r"(d[1][3]), "+r"(d[2][0]), "+r"(d[2][1]), "+r"(d[2][2]), "+r"(d[2][3]), "+r"(d[3][0]), "+r"(d[3][1]),
        "+r"(d[3][2]), "+r"(d[3][3]), "+r"(d[4][0]), "+r"(d[4][1]), "+r"(d[4][2]), "+r"(d[4][3]), "+r"(d[5][0]),
        "+r"(d[5][1]), "+r"(d[5][2]), "+r"(d[5][3]), "+r"(d[6][0]), "+r"(d[6][1]), "+r"(d[6][2]), "+r"(d[6][3]),
        "+r"(d[7][0]), "+r"(d[7][1]), "+r"(d[7][2]), "+r"(d[7][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

template <>
__device__ inline void wgmma_u8s8<128>(int (&d)[16][4], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p;\n}\n"
      : "+r"(d[0][0]), "+r"(d[0][1]), "+r"(d[0][2]), "+r"(d[0][3]), "+r"(d[1][0]), "+r"(d[1][1]), "+r"(d[1][2]),
        "+r"(d[1][3]), "+r"(d[2][0]), "+r"(d[2][1]), "+r"(d[2][2]), "+r"(d[2][3]), "+r"(d[3][0]), "+r"(d[3][1]),
        "+r"(d[3][2]), "+r"(d[3][3]), "+r"(d[4][0]), "+r"(d[4][1]), "+r"(d[4][2]), "+r"(d[4][3]), "+r"(d[5][0]),
        "+r"(d[5][1]), "+r"(d[5][2]), "+r"(d[5][3]), "+r"(d[6][0]), "+r"(d[6][1]), "+r"(d[6][2]), "+r"(d[6][3]),
        "+r"(d[7][0]), "+r"(d[7][1]), "+r"(d[7][2]), "+r"(d[7][3]), "+r"(d[8][0]), "+r"(d[8][1]), "+r"(d[8][2]),
        "+r"(d[8][3]), "+r"(d[9][0]), "+r"(d[9][1]), "+r"(d[9][2]), "+r"(d[9][3]), "+r"(d[10][0]), "+r"(d[10][1]),
        "+r"(d[10][2]), "+r"(d[10][3]), "+r"(d[11][0]), "+r"(d[11][1]), "+r"(d[11][2]), "+r"(d[11][3]), "+r"(d[12][0]),
        "+r"(d[12][1]), "+r"(d[12][2]), "+r"(d[12][3]), "+r"(d[13][0]), "+r"(d[13][1]), "+r"(d[13][2]), "+r"(d[13][3]),
        "+r"(d[14][0]), "+r"(d[14][1]), "+r"(d[14][2]), "+r"(d[14][3]), "+r"(d[15][0]), "+r"(d[15][1]), "+r"(d[15][2]),
        "+r"(d[15][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

/// Four floats of another block of the cluster, at the same address of its shared memory.
__device__ inline float4 load_of_block(const float* p, int rank) {
  float4 x;
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}\n"
      : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
      : "r"(shared_address(p)), "r"(rank)
      : "memory");
  return x;
}
/// All threads of a cluster meet; what they wrote to shared memory is seen by all.
__device__ inline void cluster_meet() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
/// The same where they have only read.
__device__ inline void cluster_part() {
  asm volatile("barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;" ::: "memory");
}

/// Columns n .. n + 3 of a row, as far as they exist.
__device__ inline void put_four(float* row, int n, int limit, Output mode, float4 y) {
  float* const to = row + n;
  if (n + 3 < limit && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
    auto* const four = reinterpret_cast<float4*>(to);
    if (mode == Output::add) {
      const float4 old = *four;
      y = {old.x + y.x, old.y + y.y, old.z + y.z, old.w + y.w};
    }
    *four = y;
    return;
  }
  const float each[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (n + i < limit) to[i] = mode == Output::add ? to[i] + each[i] : each[i];
  }
}

/// Adds the slices of a unit and hands the sums on: four rows of a token a thread, slices in order, four of them asked
/// for together. Blocks of a cluster have every so manyth token.    sums: [slice][token][kBatchPitch]
template <int kN>
__device__ inline void give_unit(const DeviceMatrix& m, const BatchInputs& act, const OutputArgs& out,
                                 const BatchPlan& plan, const PassArgs* pass, const float* sums, int unit) {
  constexpr int kSums = kN / 2 * kBatchPitch;
  const int most = 1 << plan.shift;
  const int rank = static_cast<int>(blockIdx.x) % plan.blocks;
  const int rows = pass->rows;
  for (int i = static_cast<int>(threadIdx.x); i < kUnitRows / 4 * kN / 2; i += kBatchGroups * 128) {
    const int token = rank + i / (kUnitRows / 4) * plan.blocks;
    if (token >= rows) break;
    const int r = i % (kUnitRows / 4) * 4;
    const float factor = act.factors[token];
    const auto sum_of = [&](int row) {
      float4 y{0, 0, 0, 0};
      for (int s0 = 0; s0 < m.slices; s0 += 4) {
        float4 part[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int s = min(s0 + j, m.slices - 1);
          const float* const from = sums + (s & (most - 1)) * kSums + token * kBatchPitch + row;
          part[j] = plan.blocks > 1 ? load_of_block(from, s >> plan.shift) : *reinterpret_cast<const float4*>(from);
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (s0 + j < m.slices) y.x += part[j].x, y.y += part[j].y, y.z += part[j].z, y.w += part[j].w;
        }
      }
      return float4{y.x * factor, y.y * factor, y.z * factor, y.w * factor};
    };
    const int n = unit * kUnitRows + r;
    if (out.mode == Output::silu) {
      if (r / kTileRows % 2 != 0) continue;
      const float4 gate = sum_of(r);
      const float4 up = sum_of(r + kTileRows);
      const int column = n / (2 * kTileRows) * kTileRows + n % kTileRows;
      put_four(out.out + static_cast<int64_t>(token) * out.stride, column, out.limit, Output::store,
               {silu(gate.x) * up.x, silu(gate.y) * up.y, silu(gate.z) * up.z, silu(gate.w) * up.w});
    } else if (n < m.rows) {
      float* const to =
          out.mode == Output::logits ? pass->row[token].logits : out.out + static_cast<int64_t>(token) * out.stride;
      if (to != nullptr) put_four(to, n, out.limit, out.mode, sum_of(r));
    }
  }
}
#endif

/// kN: planes, two for each token of the pass at most. A block keeps the inputs of its slices in shared memory and goes
/// from unit to unit; its groups of warps take its slices in turn.
template <int kBits, int kN>
__global__ __launch_bounds__(kBatchGroups * 128, 1) void batch_kernel(DeviceMatrix m, BatchInputs act, OutputArgs out,
                                                                      BatchPlan plan, const PassArgs* pass) {
#ifdef PROSA_WGMMA
  extern __shared__ __align__(1024) uint8_t memory[];
  uint8_t* const shared = memory + (1024U - shared_address(memory) % 1024U) % 1024U;
  __shared__ __align__(8) uint64_t full[kMaxBatchSlices];  // a slice's inputs have come
  constexpr int kSliceInputs = 2 * kN * 128;
  constexpr int kSums = kN / 2 * kBatchPitch;
  const int most = 1 << plan.shift;  // slices of a block
  const uint32_t base = shared_address(shared);
  auto* const scales = reinterpret_cast<float2*>(shared + most * kSliceInputs);
  auto* const sums_at = reinterpret_cast<float*>(scales + most * kBatchTiles * kMaxRows);  // [slice][token][pitch]
  const int thread = static_cast<int>(threadIdx.x);
  const int group = __shfl_sync(0xffffffffU, thread / 128, 0);  // the same for a warp, which the compiler then knows
  const int warp = thread % 128 / 32;
  const int lane = thread % 32;
  const int rank = static_cast<int>(blockIdx.x) % plan.blocks;
  const int step = static_cast<int>(gridDim.x) / plan.blocks;
  const int first = rank << plan.shift;
  const int slices = min(most, m.slices - first);
  const int tile_rows = m.rows / kTileRows;
  const int units = (tile_rows + kUnitTileRows - 1) / kUnitTileRows;
  Batch<kBits, false> batch;
  const auto load = [&](int unit, int slice) {
    const int k = (first + slice) * kBatchTiles;
    batch.load(m, min(unit * kUnitTileRows + warp, tile_rows - 1), k, min(k + kBatchTiles, m.k_tiles), lane);
  };
  int unit = static_cast<int>(blockIdx.x) / plan.blocks;
  if (group < slices && unit < units) load(unit, group);
  if (thread == 0) {
    for (int s = 0; s < slices; ++s) barrier_init(shared_address(full + s), 1);
    barrier_fence();
  }
  __syncthreads();
  wait_previous();
  if (thread == 0) {
    for (int s = 0; s < slices; ++s) {
      const int k = (first + s) * kBatchTiles;
      const int tiles = min(kBatchTiles, m.k_tiles - k);
      const uint32_t barrier = shared_address(full + s);
      const int bytes = (tiles + 1) / 2 * kN * 128;
      barrier_expect(barrier, bytes + tiles * kMaxRows * 8);
      bulk_copy(base + s * kSliceInputs, act.tiles + static_cast<int64_t>(k / 2) * kN * 128, bytes, barrier);
      bulk_copy(shared_address(scales + s * kBatchTiles * kMaxRows), act.scales + static_cast<int64_t>(k) * kMaxRows,
                tiles * kMaxRows * 8, barrier);
    }
  }
  signal_next();
  for (; unit < units; unit += step) {
#pragma unroll 1
    for (int slice = group; slice < slices; slice += kBatchGroups) {
      const Batch<kBits, false> current = batch;
      if (slice + kBatchGroups < slices) {
        load(unit, slice + kBatchGroups);
      } else if (unit + step < units) {
        load(unit + step, group);
      }
      barrier_wait(shared_address(full + slice), 0);
      float sums[kN / 8][2] = {};
      const int tiles = min(kBatchTiles, m.k_tiles - (first + slice) * kBatchTiles);
      const uint64_t inputs = tile_descriptor(base + slice * kSliceInputs);
      const float2* const by_group = scales + slice * kBatchTiles * kMaxRows + lane % 4;
#pragma unroll
      for (int i = 0; i < kBatchTiles; ++i) {
        if (i >= tiles) break;
        uint32_t a[2][4];
        current.tile[i].unpack(0, a[0]);
        current.tile[i].unpack(1, a[1]);
        const uint64_t b = inputs + i / 2 * (kN * 128 / 16) + i % 2 * 4;
        int d[kN / 8][4];
        wgmma_begin();
        wgmma_u8s8<kN>(d, a[0], b, 0);
        wgmma_u8s8<kN>(d, a[1], b + 2, 1);
        wgmma_commit();
        const float2 w0 = unpack_scale(current.scale[i][0].x, m.scale_type);
        const float2 w1 = unpack_scale(current.scale[i][0].y, m.scale_type);
        wgmma_wait<0>();
#pragma unroll
        for (int n = 0; n < kN / 8; ++n) add_group(sums[n], d[n], w0, w1, by_group[i * kMaxRows + 4 * n]);
      }
      float* const to = sums_at + slice * kSums + lane % 4 * kBatchPitch + warp * kTileRows + lane / 4;
#pragma unroll
      for (int n = 0; n < kN / 8; ++n) {
        to[4 * n * kBatchPitch] = sums[n][0];
        to[4 * n * kBatchPitch + 8] = sums[n][1];
      }
    }
    if (plan.blocks > 1) {
      cluster_meet();
    } else {
      __syncthreads();
    }
    give_unit<kN>(m, act, out, plan, pass, sums_at, unit);
    if (plan.blocks > 1) {
      cluster_part();  // nobody ends, or writes the next sums, while another block reads these
    } else {
      __syncthreads();
    }
  }
#endif
}

}  // namespace prosa::backend::cuda
