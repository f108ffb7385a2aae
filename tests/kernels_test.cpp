// The kernels of the CPU backend but for its products (kernels_linear_test.cpp) and attention
// (kernels_attention_test.cpp) against plain double-precision formulas, for every ISA this machine can run.
//
// The backend as a whole is tested in backend_*_test.cpp; here a wrong kernel shows by name.
#include "kernels_fixture.h"

namespace prosa::backend::cpu {
namespace {

class KernelsTest : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels = choose_kernels(GetParam());
};

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

// A head that forgets everything, and learns nothing meanwhile, has a state of zeros. Subnormal numbers in its place,
// as channels of huge activations leave them, make a prompt ten times as slow.
TEST_P(KernelsTest, WhatIsForgottenIsZero) {
  const int64_t dim = 128, tokens = kDeltaChunk;
  const std::vector<float> rows = random_floats(tokens * 3 * dim, 1, -0.1F, 0.1F);
  const std::vector<float> before = random_floats(dim * dim, 2, 0.01F, 1);
  const std::vector<float> beta(static_cast<size_t>(tokens));
  std::vector<float> out(static_cast<size_t>(tokens * dim));
  std::vector<float> scratch(static_cast<size_t>(delta_scratch_floats(dim)));
  for (const float least : {-50.0F, -87.0F, -95.0F, -3000.0F}) {  // of the whole chunk, or of one step
    for (const int64_t count : {tokens, int64_t{1}}) {
      std::vector<float> state = before;
      const std::vector<float> log_decay(static_cast<size_t>(count), least / static_cast<float>(count));
      DeltaArgs a;
      a.state = state.data();
      a.q = rows.data();
      a.k = a.q + dim;
      a.v = a.q + 2 * dim;
      a.ld = 3 * dim;
      a.log_decay = log_decay.data();
      a.beta = beta.data();
      a.ld_gate = 1;
      a.out = out.data();
      a.ld_out = dim;
      a.key_dim = a.value_dim = dim;
      a.tokens = count;
      a.scratch = scratch.data();
      count == 1 ? kernels.delta_step(a) : kernels.delta_chunk(a);
      for (const float left : state) ASSERT_EQ(left, 0.0F) << least << " over " << count;
      for (int64_t j = 0; j < dim; ++j) ASSERT_EQ(out[static_cast<size_t>((count - 1) * dim + j)], 0.0F);
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
