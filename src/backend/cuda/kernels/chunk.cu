// The delta rule in chunks of 64 tokens (Yang et al., arXiv:2412.06464): what depends on a chunk alone in parallel over
// chunks and heads, the states in order.
//
// In a chunk, with log decays summed to b_t, the rows u_t that the state takes in solve (I + A) u = beta (v - e^b S0
// k), A[t][s] = beta_t e^(b_t - b_s) k_t.k_s below the diagonal. So T = (I + A)^-1, U = T beta v and W = T beta e^b k
// need no state, and a chunk of the scan is four products: u = U - W S, o = e^b (q S) + P u, S = e^b_end S + (e^(b_end
// - b) k)^T u. Operands are f16, sums and states float32. A chunk begins at a multiple of 64 tokens of its segment,
// which is where slices are cut: cutting changes no bit.
#include "backend/cuda/kernels/chunk.cuh"
#include "backend/cuda/kernels/chunk_scan.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace prosa::backend::cuda {
namespace {

template <int kV>
struct Lanes {
  float at[kV];
  __device__ void load(const float* p) {
    if constexpr (kV == 4) *reinterpret_cast<float4*>(at) = *reinterpret_cast<const float4*>(p);
    if constexpr (kV == 2) *reinterpret_cast<float2*>(at) = *reinterpret_cast<const float2*>(p);
  }
};

/// The convolution of kD channels from `channel` on for eight rows, by a warp; q and k normalized, in f16.
template <int kD, bool kNorm>
__device__ void convolve_rows(const ChunkArgs& args, const DeltaLayer& layer, const ManySegment& segment, int token0,
                              int count, int channel, float factor, __half* out, int64_t out_stride) {
  constexpr int kV = kD / 32;
  const DeltaShape& s = args.shape;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int c = channel + lane * kV;
  Lanes<kV> weight[kTaps];
  Lanes<kV> past[kTaps];
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) weight[tap].load(layer.conv + static_cast<int64_t>(tap) * s.conv_dim + c);
  const auto row_at = [&](int token) {
    if (token >= 0) return args.rows + static_cast<int64_t>(segment.first + token) * s.stride + c;
    const int slot = (segment.position + token + kTaps) % kTaps;
    return segment.found + layer.conv_at + static_cast<int64_t>(slot) * s.conv_dim + c;
  };
#pragma unroll
  for (int tap = 0; tap + 1 < kTaps; ++tap) past[tap + 1].load(row_at(token0 - (kTaps - 1) + tap));
  for (int t = 0; t < count; ++t) {
#pragma unroll
    for (int tap = 0; tap + 1 < kTaps; ++tap) past[tap] = past[tap + 1];
    past[kTaps - 1].load(row_at(token0 + t));
    float x[kV];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kV; ++i) {
      float sum = 0;
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) sum = __fmaf_rn(weight[tap].at[i], past[tap].at[i], sum);
      x[i] = silu(sum);
      squares = __fmaf_rn(x[i], x[i], squares);
    }
    const float scale = kNorm ? rsqrtf(sum_lanes(squares) + 1e-6F) * factor : 1.0F;
    auto* const to = reinterpret_cast<uint32_t*>(out + t * out_stride + lane * kV);
#pragma unroll
    for (int i = 0; i < kV; i += 2) to[i / 2] = pack_f16(x[i] * scale, x[i + 1] * scale);
  }
}

/// A block a chunk and a head: first the key heads (q and k), then the value heads (v and the gates). A warp eight
/// rows.
template <int kD>
__global__ __launch_bounds__(kThreads) void chunk_inputs_kernel(ChunkArgs args) {
  wait_previous();
  signal_next();
  const DeltaShape& s = args.shape;
  const DeltaLayer layer = args.layers[args.layer];
  const ChunkPlace place = place_of(args, static_cast<int>(blockIdx.x));
  const ManySegment segment = args.segments[place.segment];
  const int row0 = static_cast<int>(threadIdx.x) / 32 * 8;
  const int count = min(8, place.count - row0);
  if (count <= 0) return;
  const int64_t row = place.first + row0;
  const int token = place.token + row0;
  const int unit = static_cast<int>(blockIdx.y);
  if (unit < s.key_heads) {
    const int64_t stride = static_cast<int64_t>(s.key_heads) * kD;
    const int64_t at = row * stride + unit * kD;
    convolve_rows<kD, true>(args, layer, segment, token, count, unit * kD, rsqrtf(static_cast<float>(kD)),
                            static_cast<__half*>(args.q) + at, stride);
    convolve_rows<kD, true>(args, layer, segment, token, count, (s.key_heads + unit) * kD, 1.0F,
                            static_cast<__half*>(args.k) + at, stride);
    return;
  }
  const int head = unit - s.key_heads;
  const int64_t stride = static_cast<int64_t>(s.value_heads) * kD;
  convolve_rows<kD, false>(args, layer, segment, token, count, 2 * s.key_heads * kD + head * kD, 1.0F,
                           static_cast<__half*>(args.v) + row * stride + head * kD, stride);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane < count) {
    const float* const products = args.rows + (row + lane) * s.stride;
    const int64_t at = (row + lane) * s.value_heads + head;
    args.decay[at] = -layer.rate[head] * softplus(products[s.a_at + head] + layer.dt_bias[head]);
    args.beta[at] = 1.0F / (1.0F + expf(-products[s.b_at + head]));
  }
}

/// x y over two 32-row (or 16-row) blocks of a 64 x 64 matrix in float32, a thread some elements.
struct Block64 {
  float* at;  // [64][65]
  __device__ float& operator()(int row, int col) const { return at[row * 65 + col]; }
};

/// inverse <- (I + a)^-1 for a strictly lower a. scratch: as large. Diagonal blocks of 16 by substitution, then pairs.
__device__ void invert_lower(Block64 a, Block64 inverse, Block64 scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kChunk) {  // a column of a diagonal block
    const int base = thread / 16 * 16;
    const int j = thread % 16;
    float x[16];
#pragma unroll
    for (int t = 0; t < 16; ++t) {
      float sum = t == j ? 1.0F : 0.0F;
#pragma unroll
      for (int i = 0; i < t; ++i) sum = __fmaf_rn(-a(base + t, base + i), x[i], sum);
      x[t] = t < j ? 0.0F : sum;
      inverse(base + t, base + j) = x[t];
    }
  }
  __syncthreads();
#pragma unroll
  for (int size = 16; size < kChunk; size *= 2) {
    const int pairs = kChunk / (2 * size);
    for (int i = thread; i < pairs * size * size; i += kThreads) {  // scratch = a21 inverse11
      const int base = i / (size * size) * 2 * size;
      const int row = base + size + i % (size * size) / size;
      const int col = base + i % size;
      float sum = 0;
      for (int k = 0; k < size; ++k) sum = __fmaf_rn(a(row, base + k), inverse(base + k, col), sum);
      scratch(row, col) = sum;
    }
    __syncthreads();
    for (int i = thread; i < pairs * size * size; i += kThreads) {  // inverse21 = -inverse22 scratch
      const int base = i / (size * size) * 2 * size;
      const int row = base + size + i % (size * size) / size;
      const int col = base + i % size;
      float sum = 0;
      for (int k = 0; k < size; ++k)
        sum = __fmaf_rn(-inverse(row, base + size + k), scratch(base + size + k, col), sum);
      inverse(row, col) = sum;
    }
    __syncthreads();
  }
}

template <int kD>
constexpr size_t solve_shared() {
  return 3 * sizeof(__half) * kChunk * (kD + 8) + 3 * sizeof(float) * kChunk * 65 +
         2 * sizeof(__half) * kChunk * kPitchP;
}

/// A block a chunk and value head: P, W (args.w) and U (in place of v), and the sums of log decays (in place of them).
template <int kD>
__global__ __launch_bounds__(kThreads) void chunk_solve_kernel(ChunkArgs args) {
  constexpr int kPitch = kD + 8;
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float sums[kChunk];
  __shared__ float betas[kChunk];
  auto* const keys = reinterpret_cast<__half*>(shared);
  __half* const queries = keys + kChunk * kPitch;
  __half* const values = queries + kChunk * kPitch;
  const Block64 a{reinterpret_cast<float*>(values + kChunk * kPitch)};
  const Block64 inverse{a.at + kChunk * 65};
  const Block64 scratch{inverse.at + kChunk * 65};
  auto* const for_keys = reinterpret_cast<__half*>(scratch.at + kChunk * 65);  // T times beta e^b of the column
  __half* const for_values = for_keys + kChunk * kPitchP;                      // T times beta
  wait_previous();
  signal_next();
  const DeltaShape& s = args.shape;
  const int chunk = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int key_head = head / (s.value_heads / s.key_heads);
  const ChunkPlace place = place_of(args, chunk);
  const int64_t key_stride = static_cast<int64_t>(s.key_heads) * kD;
  const int64_t value_stride = static_cast<int64_t>(s.value_heads) * kD;
  const int64_t keys_at = place.first * key_stride + key_head * kD;
  const int64_t values_at = place.first * value_stride + head * kD;
  load_rows<kD>(keys, kPitch, static_cast<const __half*>(args.k) + keys_at, key_stride, place.count);
  load_rows<kD>(queries, kPitch, static_cast<const __half*>(args.q) + keys_at, key_stride, place.count);
  load_rows<kD>(values, kPitch, static_cast<const __half*>(args.v) + values_at, value_stride, place.count);
  copy_commit();

  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  if (warp == 0) {  // sums of log decays, two tokens a lane
    float g[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int t = 2 * lane + i;
      const int64_t at = static_cast<int64_t>(place.first + t) * s.value_heads + head;
      g[i] = t < place.count ? args.decay[at] : 0.0F;
      betas[t] = t < place.count ? args.beta[at] : 0.0F;
    }
    float sum = g[0] + g[1];
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const float below = __shfl_up_sync(0xffffffffU, sum, step);
      if (lane >= step) sum += below;
    }
    sums[2 * lane] = sum - g[1];
    sums[2 * lane + 1] = sum;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int t = 2 * lane + i;
      if (t < place.count) args.decay[static_cast<int64_t>(place.first + t) * s.value_heads + head] = sums[t];
    }
  }
  for (int i = thread; i < kChunk * 65; i += kThreads) inverse.at[i] = 0;
  copy_wait<0>();
  __syncthreads();

  {  // k k^T by warps 0..3, q k^T by 4..7: 16 rows each
    const int tile = warp % 4;
    const bool of_queries = warp >= 4;
    float score[8][4] = {};
    const uint32_t a_address =
        shared_address((of_queries ? queries : keys) + (tile * 16 + lane % 16) * kPitch + lane / 16 * 8);
    const uint32_t b_address = shared_address(keys + (lane % 8 + lane / 16 * 8) * kPitch + lane / 8 % 2 * 8);
#pragma unroll
    for (int d = 0; d < kD; d += 16) {
      uint32_t left[4];
      load_matrices(left, a_address + d * 2);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        uint32_t b[4];
        load_matrices(b, b_address + (n * 16 * kPitch + d) * 2);
        mma_f16(score[2 * n], left, b[0], b[1]);
        mma_f16(score[2 * n + 1], left, b[2], b[3]);
      }
    }
    auto* const p =
        static_cast<__half*>(args.p) + (static_cast<int64_t>(chunk) * s.value_heads + head) * kChunk * kChunk;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int t = tile * 16 + lane / 4 + 8 * half;
        const int c = n * 8 + lane % 4 * 2;
        float v[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const bool seen = of_queries ? c + i <= t : c + i < t;
          v[i] = seen ? score[n][2 * half + i] * __expf(sums[t] - sums[c + i]) : 0.0F;
          if (!of_queries) a(t, c + i) = v[i] * betas[t];
        }
        if (of_queries) *reinterpret_cast<uint32_t*>(p + t * kChunk + c) = pack_f16(v[0], v[1]);
      }
    }
  }
  __syncthreads();
  invert_lower(a, inverse, scratch);
  for (int i = thread; i < kChunk * kChunk / 2; i += kThreads) {
    const int t = i / (kChunk / 2);
    const int c = i % (kChunk / 2) * 2;
    const float x = inverse(t, c) * betas[c];
    const float y = inverse(t, c + 1) * betas[c + 1];
    *reinterpret_cast<uint32_t*>(for_values + t * kPitchP + c) = pack_f16(x, y);
    *reinterpret_cast<uint32_t*>(for_keys + t * kPitchP + c) = pack_f16(x * __expf(sums[c]), y * __expf(sums[c + 1]));
  }
  __syncthreads();

  // W and U: a warp has all 64 rows of some columns of one of them.
  constexpr int kWidth = kD / 4;
  const bool of_values = warp >= 4;
  const int column0 = warp % 4 * kWidth;
  const uint32_t t_address = shared_address((of_values ? for_values : for_keys) + lane % 16 * kPitchP + lane / 16 * 8);
  const uint32_t x_address = shared_address((of_values ? values : keys) + lane % 16 * kPitch + column0 + lane / 16 * 8);
  auto* const out = of_values ? static_cast<__half*>(args.v) + values_at : static_cast<__half*>(args.w) + values_at;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
    float y[kWidth / 8][4] = {};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t left[4];
      load_matrices(left, t_address + (m * 16 * kPitchP + k * 16) * 2);
#pragma unroll
      for (int n = 0; n < kWidth / 16; ++n) {
        uint32_t b[4];
        load_matrices_transposed(b, x_address + (k * 16 * kPitch + n * 16) * 2);
        mma_f16(y[2 * n], left, b[0], b[1]);
        mma_f16(y[2 * n + 1], left, b[2], b[3]);
      }
    }
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int t = m * 16 + lane / 4 + 8 * half;
        if (t >= place.count) continue;
        *reinterpret_cast<uint32_t*>(out + t * value_stride + column0 + n * 8 + lane % 4 * 2) =
            pack_f16(y[n][2 * half], y[n][2 * half + 1]);
      }
    }
  }
}

template <int kD>
void start(const Queue& queue, const ChunkArgs& args) {
  const DeltaShape& s = args.shape;
  launch(queue, chunk_inputs_kernel<kD>, dim3(args.chunk_count, s.key_heads + s.value_heads), dim3(kThreads), 0, args);
  allow_shared(chunk_solve_kernel<kD>, solve_shared<kD>());
  launch(queue, chunk_solve_kernel<kD>, dim3(args.chunk_count, s.value_heads), dim3(kThreads), solve_shared<kD>(),
         args);
  allow_shared(chunk_scan_kernel<kD>, sizeof(ScanShared<kD>));
  launch(queue, chunk_scan_kernel<kD>, dim3(s.value_heads * (kD / kScanColumns), args.segment_count), dim3(kThreads),
         sizeof(ScanShared<kD>), args);
}

}  // namespace

bool chunk_supported(const DeltaShape& shape) {
  return shape.kernel == kTaps && shape.key_dim == shape.value_dim && (shape.key_dim == 64 || shape.key_dim == 128);
}

void launch_chunks(const Queue& queue, const ChunkArgs& args) {
  if (args.shape.key_dim == 64) return start<64>(queue, args);
  start<128>(queue, args);
}

}  // namespace prosa::backend::cuda
