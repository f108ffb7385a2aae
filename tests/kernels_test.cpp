// Every kernel of the CPU backend against plain double-precision formulas, for every ISA this machine can run.
//
// The backend as a whole is tested in backend_*_test.cpp; here a wrong kernel shows by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/attend_parts.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/state.h"
#include "backend/cpu/workspace.h"
#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "model/dequantize.h"

namespace prosa::backend::cpu {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 engine(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
  return values;
}

// A random matrix in the file's form, with the bytes it points to.
struct TestMatrix {
  Matrix matrix;
  std::vector<std::byte> data, scales, biases;
  TestMatrix() = default;
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix(TestMatrix&&) = default;  // vectors keep their addresses when moved
};

void put_values(std::vector<std::byte>& out, DType dtype, const std::vector<float>& values) {
  out.resize(values.size() * dtype_size(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
    if (dtype == DType::f32)
      std::memcpy(out.data() + i * 4, &values[i], 4);
    else
      std::memcpy(out.data() + i * 2, &half, 2);
  }
}

TestMatrix quantized_matrix(int64_t rows, int64_t cols, int bits, int group, DType scale_dtype, uint32_t seed) {
  TestMatrix test;
  std::mt19937 engine(seed);
  test.data.resize(static_cast<size_t>(rows * cols * bits / 8));
  for (std::byte& byte : test.data) byte = static_cast<std::byte>(engine());
  put_values(test.scales, scale_dtype, random_floats(rows * cols / group, seed + 1, 0.01F, 0.02F));
  put_values(test.biases, scale_dtype, random_floats(rows * cols / group, seed + 2, -0.2F, 0.0F));
  Matrix& m = test.matrix;
  m.name = "test";
  m.rows = rows;
  m.cols = cols;
  m.data = test.data.data();
  m.format = WeightFormat::affine(bits, group, scale_dtype);
  m.scales = test.scales.data();
  m.biases = test.biases.data();
  return test;
}

TestMatrix dense_matrix(int64_t rows, int64_t cols, DType dtype, uint32_t seed) {
  TestMatrix test;
  put_values(test.data, dtype, random_floats(rows * cols, seed));
  test.matrix.name = "test";
  test.matrix.rows = rows;
  test.matrix.cols = cols;
  test.matrix.format = WeightFormat::dense(dtype);
  test.matrix.data = test.data.data();
  return test;
}

class KernelsTest : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels = choose_kernels(GetParam());
  ThreadPool pool{2};

  // y = W x of the kernel for `tokens` rows against double sums over the integers (quantized) or x itself (dense).
  void check_linear(const TestMatrix& test, int64_t tokens, int planes = 2) {
    const Matrix& m = test.matrix;
    const PackedMatrix packed = pack(m, pool);
    InputRows input(tokens, m.cols, planes);
    const std::vector<float> x = random_floats(tokens * m.cols, 7);
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(x.data() + t * m.cols, m.cols, input.row(t));
      if (m.quantized()) input.quantize(kernels, t, m.cols, m.format.group_size);
    }
    const Activations view = input.view(m.format.group_size);
    const int64_t ldy = m.rows + 3;
    std::vector<float> y(static_cast<size_t>(tokens * ldy), 0.5F);
    kernels.linear(packed, {0, packed.tiles()}, view, tokens, y.data(), ldy, true);

    std::vector<float> row(static_cast<size_t>(m.cols));
    for (int64_t r = 0; r < m.rows; ++r) {
      dequantize_row(m, r, row.data());
      for (int64_t t = 0; t < tokens; ++t) {
        double expected = 0.5;
        for (int64_t c = 0; c < m.cols; ++c) {
          double value = x[static_cast<size_t>(t * m.cols + c)];
          if (m.quantized()) {
            value = view.high[t * view.ldq + c];
            if (planes == 2) value = 128 * value + view.low[t * view.ldq + c];
            value *= static_cast<double>(view.scale[c / m.format.group_size * view.ldg + t]);
          }
          expected += value * row[static_cast<size_t>(c)];
        }
        ASSERT_NEAR(y[static_cast<size_t>(t * ldy + r)], expected, 2e-4)
            << m.format.bits << " bits, row " << r << ", token " << t;
      }
    }
    for (int64_t t = 0; t < tokens; ++t) {  // nothing is written behind a row
      for (int64_t r = m.rows; r < ldy; ++r) ASSERT_EQ(y[static_cast<size_t>(t * ldy + r)], 0.5F);
    }

    // One token alone has the bits it has among others.
    std::vector<float> alone(static_cast<size_t>(m.rows), 0.5F);
    for (int64_t t = 0; t < tokens; ++t) {
      std::fill(alone.begin(), alone.end(), 0.5F);
      kernels.linear(packed, {0, packed.tiles()}, input.view(m.format.group_size, t), 1, alone.data(), m.rows, true);
      for (int64_t r = 0; r < m.rows; ++r)
        ASSERT_EQ(alone[static_cast<size_t>(r)], y[static_cast<size_t>(t * ldy + r)]);
    }
  }
};

TEST_P(KernelsTest, UnpackRowGivesTheFilesValues) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const TestMatrix test = quantized_matrix(19, 256, bits, group, DType::bf16, static_cast<uint32_t>(bits));
      const PackedMatrix packed = pack(test.matrix, pool);
      std::vector<float> ours(256), file(256);
      for (int64_t row = 0; row < 19; ++row) {
        unpack_row(packed, row, ours.data());
        dequantize_row(test.matrix, row, file.data());
        ASSERT_EQ(ours, file) << bits << " bits, group " << group << ", row " << row;
      }
    }
  }
}

TEST_P(KernelsTest, QuantizedLinear) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      for (int64_t rows : {2, 16, 35, 64}) {
        const TestMatrix matrix = quantized_matrix(rows, 256, bits, group, DType::bf16, 11);
        for (int64_t tokens : {1, 2, 3, 4, 13, 20, 29}) {  // several tiles of tokens, with few and many left
          for (int planes : {1, 2}) check_linear(matrix, tokens, planes);
        }
      }
    }
  }
}

TEST_P(KernelsTest, QuantizedLinearOfManyTokensAndColumns) {
  check_linear(quantized_matrix(33, 1152, 4, 128, DType::bf16, 12), 140);
}

// Beyond what generic/pairs.inl and i8mm/linear.inl have room for, and as much as that.
TEST_P(KernelsTest, QuantizedLinearOfVeryManyColumns) {
  for (int64_t cols : {8192, 8256}) {
    for (int bits : {4, 8}) check_linear(quantized_matrix(16, cols, bits, 64, DType::bf16, 14), 7);
  }
}

// One group, an odd number of them, and an odd number behind a chunk; tokens that leave one to eight over.
TEST_P(KernelsTest, QuantizedLinearOfOddGroupsAndTokens) {
  for (int64_t cols : {64, 320, 704}) {
    for (int64_t tokens : {9, 17, 21, 24, 38}) {
      for (int planes : {1, 2}) check_linear(quantized_matrix(40, cols, 4, 64, DType::bf16, 13), tokens, planes);
    }
  }
}

TEST_P(KernelsTest, QuantizedLinearWithWideScales) {
  for (DType dtype : {DType::f16, DType::f32}) {
    for (int bits : {4, 8}) {
      for (int64_t tokens : {5, 16}) check_linear(quantized_matrix(40, 384, bits, 64, dtype, 5), tokens);
    }
  }
}

TEST_P(KernelsTest, DenseLinear) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    for (int64_t rows : {2, 16, 100}) {
      for (int64_t cols : {48, 100, 256}) {
        for (int64_t tokens : {1, 2, 13}) check_linear(dense_matrix(rows, cols, dtype, 3), tokens);
      }
    }
  }
}

TEST_P(KernelsTest, ExtremeCodesAndActivationsDoNotSaturate) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    TestMatrix test = quantized_matrix(16, 128, bits, 64, DType::f32, 1);
    std::fill(test.data.begin(), test.data.end(), std::byte{0xff});
    const PackedMatrix packed = pack(test.matrix, pool);
    for (float sign : {1.0F, -1.0F}) {
      for (int planes : {1, 2}) {
        InputRows input(1, 128, planes);
        std::fill_n(input.row(0), 128, sign);
        input.quantize(kernels, 0, 128, 64);
        std::vector<float> y(16);
        kernels.linear(packed, {0, 1}, input.view(64), 1, y.data(), 16, false);
        std::vector<float> row(128);
        for (int64_t r = 0; r < 16; ++r) {
          dequantize_row(test.matrix, r, row.data());
          double expected = 0;
          for (float value : row) expected += sign * value;
          EXPECT_NEAR(y[static_cast<size_t>(r)] / expected, 1.0, 1e-5) << bits;
        }
      }
    }
  }
}

TEST_P(KernelsTest, QuantizeRoundsToTheNearestStep) {
  const int64_t n = 256;
  std::vector<float> x = random_floats(n, 3, -4, 4);
  std::fill_n(x.begin() + 64, 64, 0.0F);  // a group of zeros
  x[130] = -5;                            // the ends of the range
  x[200] = 5;
  std::vector<int8_t> high(static_cast<size_t>(n)), low(static_cast<size_t>(n));
  std::vector<float> scale(4), sum(4);
  kernels.quantize(x.data(), n, 64, high.data(), low.data(), scale.data(), sum.data(), 1);
  for (int64_t g = 0; g < 4; ++g) {
    float total = 0;
    for (int64_t i = g * 64; i < (g + 1) * 64; ++i) {
      const auto at = static_cast<size_t>(i);
      const auto q = static_cast<float>(128 * high[at] + low[at]);
      EXPECT_NEAR(scale[static_cast<size_t>(g)] * q, x[at], scale[static_cast<size_t>(g)] * 0.51F);
      EXPECT_TRUE(low[at] >= -64 && low[at] <= 63);
      total += q;
    }
    EXPECT_FLOAT_EQ(sum[static_cast<size_t>(g)], total * scale[static_cast<size_t>(g)]);
  }
  EXPECT_EQ(scale[1], 0.0F);

  kernels.quantize(x.data(), n, 64, high.data(), nullptr, scale.data(), sum.data(), 1);
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_NEAR(scale[at / 64] * high[at], x[at], scale[at / 64] * 0.51F);
    EXPECT_GE(high[at], -127);
  }
  for (size_t g = 0; g < 4; ++g) {
    const int total = std::accumulate(high.begin() + 64 * g, high.begin() + 64 * (g + 1), 0);
    EXPECT_FLOAT_EQ(sum[g], static_cast<float>(total) * scale[g]);
  }
}

TEST_P(KernelsTest, RowFunctions) {
  const int64_t n = 96;
  const std::vector<float> x = random_floats(n, 1, -6, 6), w = random_floats(n, 2), z = random_floats(n, 3, -30, 30);
  std::vector<float> out(static_cast<size_t>(n));
  double squares = 0;
  for (float value : x) squares += static_cast<double>(value) * value;
  const double rms = std::sqrt(squares / static_cast<double>(n) + 1e-6);
  const auto silu = [](double value) { return value / (1 + std::exp(-value)); };

  kernels.rms_norm(x.data(), w.data(), n, 1e-6F, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], x[i] / rms * w[i], 2e-6);
  kernels.silu_mul(z.data(), x.data(), n, out.data());
  for (size_t i = 0; i < out.size(); ++i)
    EXPECT_NEAR(out[i], silu(z[i]) * x[i], 2e-5 * (1 + std::abs(silu(z[i]) * x[i])));
  out = x;
  kernels.sigmoid_mul(out.data(), z.data(), n);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], x[i] / (1 + std::exp(-static_cast<double>(z[i]))), 2e-6);
  out = x;
  kernels.gated_norm(out.data(), w.data(), z.data(), n, 1e-6F);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], x[i] / rms * w[i] * silu(z[i]), 5e-5);
  out = x;
  kernels.l2_norm(out.data(), n, 0.25F);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], 0.25 * x[i] / std::sqrt(squares + 1e-6), 1e-6);
}

TEST_P(KernelsTest, ConvolutionWithSilu) {
  const int64_t channels = 64;
  const std::vector<float> w = random_floats(4 * channels, 1), x = random_floats(4 * channels, 2);
  const float* rows[] = {x.data(), x.data() + channels, x.data() + 2 * channels, x.data() + 3 * channels};
  std::vector<float> out(static_cast<size_t>(channels), -9.0F);
  const float* const part[4] = {rows[0] + 16, rows[1] + 16, rows[2] + 16, rows[3] + 16};
  kernels.conv_silu(w.data() + 16, channels, part, 4, 32, out.data() + 16);
  for (int64_t c = 0; c < channels; ++c) {
    double total = 0;
    for (int64_t tap = 0; tap < 4; ++tap)
      total += static_cast<double>(w[static_cast<size_t>(tap * channels + c)]) * rows[tap][c];
    const double expected = c >= 16 && c < 48 ? total / (1 + std::exp(-total)) : -9.0;
    EXPECT_NEAR(out[static_cast<size_t>(c)], expected, 2e-6);
  }
}

// The delta rule as written in the paper, S [key_dim][value_dim], in double.
struct NaiveDelta {
  int64_t key_dim, value_dim;
  std::vector<double> state = std::vector<double>(static_cast<size_t>(key_dim * value_dim));
  std::vector<double> step(const float* q, const float* k, const float* v, double log_decay, double beta) {
    const auto at = [&](int64_t i, int64_t j) -> double& { return state[static_cast<size_t>(i * value_dim + j)]; };
    std::vector<double> out(static_cast<size_t>(value_dim));
    for (int64_t j = 0; j < value_dim; ++j) {
      double memory = 0;
      for (int64_t i = 0; i < key_dim; ++i) memory += (at(i, j) *= std::exp(log_decay)) * k[i];
      const double delta = beta * (v[j] - memory);
      for (int64_t i = 0; i < key_dim; ++i) out[static_cast<size_t>(j)] += (at(i, j) += k[i] * delta) * q[i];
    }
    return out;
  }
};

TEST_P(KernelsTest, DeltaRuleInStepsAndInChunks) {
  for (const auto& dims : {std::pair<int64_t, int64_t>{64, 64}, {128, 128}, {32, 48}}) {
    const int64_t key_dim = dims.first, value_dim = dims.second;
    for (int64_t tokens : {1, 2, 7, 31, 32}) {
      const int64_t total = tokens + 5;  // five steps first, so that the chunk meets a state
      std::vector<float> q = random_floats(total * key_dim, 1), k = random_floats(total * key_dim, 2);
      const std::vector<float> v = random_floats(total * value_dim, 3), beta = random_floats(total, 4, 0, 1);
      std::vector<float> log_decay = random_floats(total, 5, -1, 0);
      log_decay[6 % static_cast<size_t>(total)] = -60;  // a head that forgets everything at once
      for (int64_t t = 0; t < total; ++t) {
        kernels.l2_norm(q.data() + t * key_dim, key_dim, 0.125F);
        kernels.l2_norm(k.data() + t * key_dim, key_dim, 1);
      }
      // One row of [q | k | v] a token, as the convolution leaves it.
      const int64_t ld = 2 * key_dim + value_dim;
      std::vector<float> rows(static_cast<size_t>(total * ld));
      for (int64_t t = 0; t < total; ++t) {
        std::copy_n(q.data() + t * key_dim, key_dim, rows.data() + t * ld);
        std::copy_n(k.data() + t * key_dim, key_dim, rows.data() + t * ld + key_dim);
        std::copy_n(v.data() + t * value_dim, value_dim, rows.data() + t * ld + 2 * key_dim);
      }
      std::vector<float> state(static_cast<size_t>(key_dim * value_dim)), out(static_cast<size_t>(total * value_dim));
      std::vector<float> scratch(static_cast<size_t>(delta_scratch_floats(key_dim)));
      const auto args = [&](int64_t first, int64_t count) {
        DeltaArgs a;
        a.state = state.data();
        a.q = rows.data() + first * ld;
        a.k = a.q + key_dim;
        a.v = a.q + 2 * key_dim;
        a.ld = ld;
        a.log_decay = log_decay.data() + first;
        a.beta = beta.data() + first;
        a.ld_gate = 1;
        a.out = out.data() + first * value_dim;
        a.ld_out = value_dim;
        a.key_dim = key_dim;
        a.value_dim = value_dim;
        a.tokens = count;
        a.scratch = scratch.data();
        return a;
      };
      for (int64_t t = 0; t < 5; ++t) kernels.delta_step(args(t, 1));
      kernels.delta_chunk(args(5, tokens));

      NaiveDelta naive{key_dim, value_dim};
      for (int64_t t = 0; t < total; ++t) {
        const auto expected =
            naive.step(rows.data() + t * ld, rows.data() + t * ld + key_dim, rows.data() + t * ld + 2 * key_dim,
                       log_decay[static_cast<size_t>(t)], beta[static_cast<size_t>(t)]);
        for (int64_t j = 0; j < value_dim; ++j) {
          ASSERT_NEAR(out[static_cast<size_t>(t * value_dim + j)], expected[static_cast<size_t>(j)], 2e-6)
              << "token " << t << " of " << total;
        }
      }
      for (int64_t i = 0; i < key_dim; ++i) {
        for (int64_t j = 0; j < value_dim; ++j) {
          ASSERT_NEAR(state[static_cast<size_t>(j / 16 * key_dim * 16 + i * 16 + j % 16)],
                      naive.state[static_cast<size_t>(i * value_dim + j)], 3e-6);
        }
      }
    }
  }
}

// Two spans joined: what all of it gives, but for rounding; a row that does not see the second keeps its bits.
void check_joined(const Kernels& kernels, const AttendArgs& all) {
  const auto rows = static_cast<size_t>(all.rows);
  const auto dim = static_cast<size_t>(all.kv.head_dim);
  std::vector<float> first(rows * dim), second(rows * dim, 7.0F);
  std::vector<float*> first_rows, second_rows;
  for (size_t r = 0; r < rows; ++r) {
    first_rows.push_back(first.data() + r * dim);
    second_rows.push_back(second.data() + r * dim);
  }
  std::vector<AttendPart> sums(rows), more(rows);
  AttendArgs args = all;
  args.out = first_rows.data();
  args.end = kKvSpan;
  args.parts = sums.data();
  kernels.attend(args);
  args.out = second_rows.data();
  args.first = kKvSpan;
  args.end = 2 * kKvSpan;
  args.parts = more.data();
  kernels.attend(args);
  for (size_t r = 0; r < rows; ++r) {
    const std::vector<float> alone(first_rows[r], first_rows[r] + dim);
    const bool sees = all.limits[r] > kKvSpan;
    ASSERT_EQ(more[r].total != 0, sees);
    join(sums[r], first_rows[r], more[r], second_rows[r], all.kv.head_dim);
    for (size_t d = 0; d < dim; ++d) {
      ASSERT_NEAR(first_rows[r][d], all.out[r][d], 1e-4) << "row " << r;
      if (sees) continue;
      ASSERT_EQ(second_rows[r][d], 0) << "row " << r;
      ASSERT_EQ(first_rows[r][d], alone[d]);
      ASSERT_EQ(first_rows[r][d], all.out[r][d]) << "row " << r;
    }
  }
}

// Vectors of 16 dimensions that the 8-bit form mixes with each other.
int64_t mixed_vectors(int64_t dim) { return std::min<int64_t>(16, dim / 16 & -(dim / 16)); }

// Lane by lane, count vectors from x on, times a Hadamard matrix.
std::vector<double> times_hadamard(const double* x, int64_t count) {
  std::vector<double> sums(static_cast<size_t>(16 * count));
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < count; ++i) {
      const double sign = std::popcount(static_cast<uint64_t>(row & i)) % 2 == 1 ? -1 : 1;
      for (int64_t lane = 0; lane < 16; ++lane) sums[static_cast<size_t>(16 * row + lane)] += sign * x[16 * i + lane];
    }
  }
  return sums;
}

// A query as the 8-bit form sees it: mixed, in 127 steps either way. mixing() times as long, squared.
std::vector<double> mixed_bytes(const float* x, int64_t dim) {
  const int64_t count = mixed_vectors(dim);
  std::vector<double> mixed;
  double peak = 0;
  for (int64_t first = 0; first < dim; first += 16 * count) {
    const std::vector<double> across =
        times_hadamard(std::vector<double>(x + first, x + first + 16 * count).data(), count);
    std::vector<double> along;
    for (int64_t lane = 0; lane < 16; ++lane) {
      for (int64_t i = 0; i < count; ++i) along.push_back(across[static_cast<size_t>(16 * i + lane)]);
    }
    for (const double sum : times_hadamard(along.data(), count)) mixed.push_back(sum);
  }
  for (const double m : mixed) peak = std::max(peak, std::abs(m));
  for (double& m : mixed) m = std::nearbyint(m * 127 / peak) * peak / 127;
  return mixed;
}

// What the product of two mixed vectors is too large by.
double mixing(const KvLayout& kv) {
  const auto count = static_cast<double>(mixed_vectors(kv.head_dim));
  return kv.bits == 8 ? count * count : 1;
}

// The numbers of a stored key or value.
std::vector<double> stored(const KvLayout& kv, const std::byte* head, int64_t slot, bool key) {
  float scale = 0;
  std::memcpy(&scale, head + kv.scale_at(slot), sizeof scale);
  std::vector<double> x;
  for (int64_t d = 0; d < kv.head_dim; ++d) {
    const int64_t at = key ? kv.key_at(slot, d) : kv.value_at(slot, d);
    int16_t whole = 0;
    if (kv.bits == 8)
      whole = static_cast<int8_t>(head[at]);
    else
      std::memcpy(&whole, head + 2 * at, sizeof whole);
    x.push_back(static_cast<double>(scale) * whole);
  }
  return x;
}

void check_attention_of(const Kernels& kernels, const KvLayout& kv, int64_t rows) {
  const int64_t positions = 150, dim = kv.head_dim;
  const std::vector<float> k = random_floats(positions * dim, 1, -2, 2), v = random_floats(positions * dim, 2);
  // Two blocks, each with something in front of the head's keys and values.
  const int64_t keys_at = 192, values_at = keys_at + kv.head_bytes() + 64;
  // What was never stored must not be weighed: it is as bad as can be.
  std::vector<std::vector<std::byte>> blocks(
      2, std::vector<std::byte>(static_cast<size_t>(values_at + kv.head_bytes()), std::byte{0xff}));
  const std::vector<const std::byte*> table{blocks[0].data(), blocks[1].data()};
  for (int64_t p = 0; p < positions; ++p) {
    std::byte* block = blocks[static_cast<size_t>(p / kKvSpan)].data();
    kernels.store_key(k.data() + p * dim, kv, p % kKvSpan, block + keys_at);
    kernels.store_value(v.data() + p * dim, kv, p % kKvSpan, block + values_at);
  }
  const float spread = 8.0F / std::sqrt(static_cast<float>(dim));  // so that scores of any width are as large
  const std::vector<float> q = random_floats(rows * dim, 3, -spread, spread);
  const std::vector<int64_t> some{150, 1, 64, 129, 63, 128, 16, 149};
  std::vector<int64_t> limits;
  for (int64_t r = 0; r < rows; ++r) limits.push_back(some[static_cast<size_t>(r) % some.size()]);
  std::vector<float> out(static_cast<size_t>(rows * dim)), alone(static_cast<size_t>(dim)),
      scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  std::vector<const float*> queries;
  std::vector<float*> outs;
  for (int64_t r = 0; r < rows; ++r) {
    queries.push_back(q.data() + r * dim);
    outs.push_back(out.data() + r * dim);
  }
  AttendArgs args;
  args.blocks = table.data();
  args.keys = keys_at;
  args.values = values_at;
  args.kv = kv;
  args.scratch = scratch.data();
  args.q = queries.data();
  args.out = outs.data();
  args.limits = limits.data();
  args.rows = rows;
  kernels.attend(args);
  check_joined(kernels, args);
  std::vector<std::vector<double>> key_of, value_of;  // as stored; how well that is: StoredKeysAndValues
  for (int64_t p = 0; p < positions; ++p) {
    const std::byte* block = table[static_cast<size_t>(p / kKvSpan)];
    key_of.push_back(stored(kv, block + keys_at, p % kKvSpan, true));
    value_of.push_back(stored(kv, block + values_at, p % kKvSpan, false));
  }
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    std::vector<double> query(queries[r], queries[r] + dim);
    if (kv.bits == 8) query = mixed_bytes(queries[r], dim);
    std::vector<double> weight;
    double total = 0;
    for (size_t p = 0; p < static_cast<size_t>(limits[r]); ++p) {
      weight.push_back(std::exp(std::inner_product(query.begin(), query.end(), key_of[p].begin(), 0.0) / mixing(kv)));
      total += weight.back();
    }
    for (size_t d = 0; d < static_cast<size_t>(dim); ++d) {
      double expected = 0;
      for (size_t p = 0; p < weight.size(); ++p) expected += weight[p] / total * value_of[p][d];
      ASSERT_NEAR(outs[r][d], expected, kv.bits == 8 ? 1e-2 : 1e-3) << "row " << r << " of " << rows << ", " << dim;
    }
    float* single = alone.data();
    AttendArgs one = args;
    one.q = queries.data() + r;
    one.out = &single;
    one.limits = limits.data() + r;
    one.rows = 1;
    kernels.attend(one);
    for (int64_t d = 0; d < dim; ++d)
      ASSERT_EQ(alone[static_cast<size_t>(d)], outs[r][d]) << "row " << r << " alone, " << rows << ", " << dim;
  }
}

// Few rows, more than a tile of them, and more heads' dimensions than one.
TEST_P(KernelsTest, Attention) {
  for (const int64_t dim : {48, 64, 256}) {
    for (const int bits : {8, 16}) {
      for (const int64_t rows : {8, 9, 43, 96}) check_attention_of(kernels, {dim, bits}, rows);
    }
  }
}

// Keys as trained models may have them: one dimension is much larger than all others, and alike at all positions, so
// that it changes no weight. What it costs the others in 8 bits is what is left of it after mixing.
TEST_P(KernelsTest, AttentionBesideALargeDimension) {
  const KvLayout kv{256, 8};
  const int64_t dim = kv.head_dim, positions = 128;
  std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
  std::vector<float> k = random_floats(positions * dim, 1), v = random_floats(positions * dim, 2);
  const std::vector<float> q = random_floats(dim, 3, -0.5F, 0.5F);
  for (int64_t p = 0; p < positions; ++p) {
    k[static_cast<size_t>(p * dim + 17)] = 40;
    kernels.store_key(k.data() + p * dim, kv, p, block.data());
    kernels.store_value(v.data() + p * dim, kv, p, block.data() + kv.head_bytes());
  }
  std::vector<float> out(static_cast<size_t>(dim)), scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  const std::byte* table = block.data();
  const float* query = q.data();
  float* sums = out.data();
  kernels.attend({&query, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()});
  std::vector<double> weights;
  for (int64_t p = 0; p < positions; ++p)
    weights.push_back(std::exp(std::inner_product(q.begin(), q.end(), k.begin() + p * dim, 0.0)));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (int64_t d = 0; d < dim; ++d) {
    double expected = 0;
    for (int64_t p = 0; p < positions; ++p)
      expected += weights[static_cast<size_t>(p)] / total * v[static_cast<size_t>(p * dim + d)];
    ASSERT_NEAR(out[static_cast<size_t>(d)], expected, 0.02);
  }
}

// Vectors that use the integers' whole range: one element holds all of the length, all elements are alike, a query
// points along its key, weights are all the same or one is alone, and scales from tiny to large.
void check_edges(const Kernels& kernels, const KvLayout& kv) {
  const int64_t dim = kv.head_dim, positions = 64;
  std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
  const std::byte* table = block.data();
  std::vector<float> scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  const auto vector_of = [&](int form, float size) {
    std::vector<float> x(static_cast<size_t>(dim), form == 1 ? size / 16 : 0.0F);
    if (form == 0) x[7] = -size;
    if (form == 2) x = random_floats(dim, 5, -size, size);
    return x;
  };
  for (int form : {0, 1, 2, 3}) {  // 3: zeros
    for (const float size : {1e-12F, 1.0F, 3e4F}) {
      for (const bool alike : {true, false}) {
        const std::vector<float> key = vector_of(form, size), value = vector_of((form + 1) % 4, size);
        double norm = 0;
        for (const float x : key) norm += static_cast<double>(x) * x;
        std::vector<float> q = key;  // a score of 20 with its own key, whatever its size
        for (float& x : q) x = norm > 0 ? static_cast<float>(20.0 * x / norm) : 0.0F;
        for (int64_t p = 0; p < positions; ++p) {
          const bool same = alike || p == 11;
          std::vector<float> k = key, v = value;
          for (float& x : k) x *= same ? 1.0F : -1.0F;
          for (float& x : v) x *= same ? 1.0F : 0.5F;
          kernels.store_key(k.data(), kv, p, block.data());
          kernels.store_value(v.data(), kv, p, block.data() + kv.head_bytes());
        }
        std::vector<float> out(static_cast<size_t>(dim));
        const float* query = q.data();
        float* sums = out.data();
        AttendArgs args{&query, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()};
        kernels.attend(args);
        const std::vector<float> alone = out;
        constexpr int64_t kMany = 20;
        const std::vector<const float*> queries(kMany, query);
        const std::vector<int64_t> limits(kMany, positions);
        std::vector<float> many(static_cast<size_t>(kMany * dim));
        std::vector<float*> outs;
        for (int64_t r = 0; r < kMany; ++r) outs.push_back(many.data() + r * dim);
        args.q = queries.data();
        args.out = outs.data();
        args.limits = limits.data();
        args.rows = kMany;
        kernels.attend(args);
        for (size_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], alone[i % alone.size()]) << "among others";
        const double share = alike || norm == 0 ? 1.0 / static_cast<double>(positions) : 1.0;  // of position 11
        const double mixed = alike ? 1.0 : share + (1 - share) * 0.5;
        for (size_t d = 0; d < out.size(); ++d) {
          ASSERT_NEAR(out[d], mixed * value[d], (kv.bits == 8 ? 5e-3 : 1e-3) * size)
              << "form " << form << ", size " << size;
        }
      }
    }
  }
}

TEST_P(KernelsTest, AttentionAtTheEdgesOfItsIntegers) {
  check_edges(kernels, {256, 8});
  check_edges(kernels, {256, 16});
}

// What is stored, read back by the layout: each number within half a step, and the products of keys as they were,
// whichever dimensions are the large ones, each at a place of its own.
TEST_P(KernelsTest, StoredKeysAndValues) {
  for (const KvLayout kv : {KvLayout{48, 8}, KvLayout{96, 8}, KvLayout{512, 8}, KvLayout{48, 16}, KvLayout{256, 16}}) {
    SCOPED_TRACE(std::to_string(kv.head_dim) + " of " + std::to_string(kv.bits) + " bits");
    const auto dim = static_cast<size_t>(kv.head_dim);
    std::vector<std::byte> keys(static_cast<size_t>(kv.head_bytes())), values = keys;
    std::set<int64_t> key_places, value_places;
    for (const int64_t slot : {0, 5, 15, 16, 63, 64, 127}) {
      std::vector<float> x = random_floats(kv.head_dim, static_cast<unsigned>(slot));
      x[17] = 12;
      kernels.store_key(x.data(), kv, slot, keys.data());
      kernels.store_value(x.data(), kv, slot, values.data());
      const std::vector<double> key = stored(kv, keys.data(), slot, true);
      const std::vector<double> value = stored(kv, values.data(), slot, false);
      const std::vector<double> mixed =
          kv.bits == 8 ? mixed_bytes(x.data(), kv.head_dim) : std::vector<double>(x.begin(), x.end());
      for (size_t d = 0; d < dim; ++d) {
        ASSERT_NEAR(value[d], x[d], kv.bits == 8 ? 0.501 * 12 / 127 : 1e-3);
        ASSERT_NEAR(key[d], mixed[d], 1e-3);
        const auto at = static_cast<int64_t>(d);
        ASSERT_TRUE(key_places.insert(kv.key_at(slot, at)).second);
        ASSERT_TRUE(value_places.insert(kv.value_at(slot, at)).second);
      }
      const double product = std::inner_product(key.begin(), key.end(), mixed.begin(), 0.0);
      const double expected = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
      ASSERT_NEAR(product / mixing(kv), expected, 0.01 * expected);
    }
    for (const std::set<int64_t>& places : {key_places, value_places}) {
      ASSERT_GE(*places.begin(), 0);
      ASSERT_LT(*places.rbegin(), kKvSpan * kv.head_dim);
    }
  }
}

// Every number of the positions asked for, and nothing of those behind.
TEST(KvShapeTest, CopiesOfBlocks) {
  ModelConfig config;
  config.layer_types = {LayerType::full_attention, LayerType::linear_attention, LayerType::full_attention};
  config.num_key_value_heads = 2;
  config.head_dim = 48;
  for (const int bits : {8, 16}) {
    const KvShape shape(config, bits);
    const Ref<KvBlock> block(new KvBlock(shape.block_bytes));
    for (int64_t i = 0; i < shape.block_bytes; ++i) block->data[i] = std::byte{static_cast<uint8_t>(1 + i % 251)};
    for (int64_t positions = 0; positions <= kKvSpan; ++positions) {
      std::vector<std::byte> expected(static_cast<size_t>(shape.block_bytes));
      const auto copied = [&](int64_t at, int64_t bytes) {
        std::copy_n(block->data.data() + at, bytes, expected.begin() + at);
      };
      for (int64_t part = 0; part < 2 * 2 * 2; ++part) {
        const int64_t begin = part * shape.head.head_bytes();
        for (int64_t slot = 0; slot < positions; ++slot) {
          copied(begin + shape.head.scale_at(slot), 4);
          for (int64_t d = 0; d < config.head_dim; ++d) {
            const int64_t at = part % 4 < 2 ? shape.head.key_at(slot, d) : shape.head.value_at(slot, d);
            copied(begin + at * bits / 8, bits / 8);
          }
        }
      }
      const auto copy = shape.copy_of(*block, positions);
      ASSERT_EQ(copy->filled, positions);
      ASSERT_TRUE(std::ranges::equal(copy->data.span(), expected)) << bits << " bits, " << positions << " positions";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, KernelsTest, testing::ValuesIn(available_isas()),
                         [](const auto& param) { return param.param; });

TEST(ThreadPoolTest, RunsEveryWorkerAndBarriersOrderTheirWrites) {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    std::vector<int> counts(static_cast<size_t>(threads));
    std::atomic<bool> ordered{true};
    for (int round = 0; round < 200; ++round) {
      pool.run([&](int worker) {
        counts[static_cast<size_t>(worker)] = round;
        pool.barrier();
        for (int count : counts) {
          if (count != round) ordered = false;
        }
        pool.barrier();
      });
    }
    EXPECT_TRUE(ordered);
  }
}

}  // namespace
}  // namespace prosa::backend::cpu
