// Calibrated quantization: each part against what it claims, and whole plans on the tiny model.
//
// How much a method helps a trained model is measured, not tested: docs/quantization.md.
#include "calibrate/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/reference/reference.h"
#include "base/bf16.h"
#include "calibrate/error_feedback.h"
#include "calibrate/factor.h"
#include "calibrate/group_search.h"
#include "calibrate/layer_pass.h"
#include "calibrate/products.h"
#include "checkpoint/quantize.h"
#include "convert_fixture.h"

namespace prosa::calibrate {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(engine);
  return values;
}

/// Sum of x x^T over inputs that depend on each other.
std::vector<float> correlated_moments(int64_t size, int64_t tokens, ThreadPool& pool) {
  std::vector<float> x = random_floats(tokens * size, 5);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 1; i < size; ++i) x[t * size + i] = 0.8F * x[t * size + i - 1] + 0.6F * x[t * size + i];
  }
  std::vector<float> columns(x.size());
  transpose({x.data(), tokens, size, size}, columns.data(), pool);
  std::vector<float> h(static_cast<size_t>(size * size));
  const View view{columns.data(), size, tokens, tokens};
  multiply(view, view, Into::assign, h.data(), size, pool);
  return h;
}

/// Sum over rows of (w - v) H (w - v)^T.
double output_error(std::span<const float> w, const StoredRows& v, std::span<const float> h) {
  const int64_t size = v.cols;
  std::vector<float> off(static_cast<size_t>(size));
  double sum = 0;
  for (int64_t row = 0; row < std::ssize(w) / size; ++row) {
    v.read_row(row, off.data());
    for (int64_t i = 0; i < size; ++i) off[i] = w[row * size + i] - off[i];
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) sum += static_cast<double>(off[i]) * h[i * size + j] * off[j];
    }
  }
  return sum;
}

std::vector<std::vector<int32_t>> some_sequences(int64_t vocab) {
  std::mt19937 engine(3);
  std::vector<std::vector<int32_t>> sequences(5);
  for (auto& tokens : sequences) {
    for (int i = 0; i < 70; ++i) tokens.push_back(static_cast<int32_t>(engine() % static_cast<uint32_t>(vocab)));
  }
  return sequences;
}

TEST(CalibrateProducts, AreSumsOfProducts) {
  ThreadPool pool(3);
  for (const int64_t k : {1, 16, 37, 130}) {
    const int64_t m = 53, n = 101;
    const std::vector<float> a = random_floats(m * k, 1), b = random_floats(n * k, 2);
    std::vector<float> c(static_cast<size_t>(m * n), 1.0F);
    multiply({a.data(), m, k, k}, {b.data(), n, k, k}, Into::subtract, c.data(), n, pool);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 1;
        for (int64_t l = 0; l < k; ++l) sum -= static_cast<double>(a[i * k + l]) * b[j * k + l];
        ASSERT_NEAR(c[i * n + j], sum, 1e-4) << k << ": " << i << ", " << j;
      }
    }
  }
}

TEST(CalibrateFactor, GivesTheMatrixBack) {
  ThreadPool pool(2);
  const int64_t size = 150;
  const std::vector<float> h = correlated_moments(size, 600, pool);
  Factor f;
  ASSERT_TRUE(factor(h, size, 3.0F, pool, f));
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t m = i; m < size; ++m) {
        const double left = m == i ? 1 : f.feedback[m * size + i];
        const double right = m == j ? 1 : f.feedback[m * size + j];
        sum += left * f.d[m] * right;
      }
      ASSERT_NEAR(sum, h[i * size + j] + (i == j ? 3.0F : 0.0F), 0.05) << i << ", " << j;
    }
  }
  const std::vector<float> x = random_floats(11 * size, 8);
  std::vector<float> y(x.size(), 0.0F);
  std::vector<float> damped = h;
  for (int64_t i = 0; i < size; ++i) damped[i * size + i] += 3.0F;
  multiply({x.data(), 11, size, size}, {damped.data(), size, size, size}, Into::assign, y.data(), size);
  solve(f, y, pool);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], x[i], 1e-3);
}

TEST(CalibrateFactor, RefusesWhatIsNotPositive) {
  ThreadPool pool(1);
  Factor f;
  EXPECT_FALSE(factor(std::vector<float>{1, 0, 2, 1}, 2, 0, pool, f));
  EXPECT_FALSE(factor(std::vector<float>{NAN, 0, 0, 1}, 2, 0, pool, f));
}

TEST(GroupSearch, IsNeverWorseThanMlx) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> values = random_floats(64, seed);
      std::vector<float> weights = random_floats(64, seed + 100);
      for (float& weight : weights) weight = weight * weight + 0.01F;
      std::vector<uint32_t> words(static_cast<size_t>(2 * bits));
      uint16_t scale = 0, bias = 0;
      checkpoint::quantize_row(values, bits, 64, words, {&scale, 1}, {&bias, 1}, checkpoint::ScaleRule::divided);
      const GroupCode mlx{bf16_to_float(scale), bf16_to_float(bias)};
      const GroupCode ours = search_group(values, weights, bits);
      const auto levels = static_cast<float>((1 << bits) - 1);
      const auto error = [&](const GroupCode& code) {
        double sum = 0;
        for (size_t i = 0; i < values.size(); ++i)
          sum += weights[i] * std::pow(values[i] - code.value(code.code(values[i], levels)), 2);
        return sum;
      };
      EXPECT_LE(error(ours), error(mlx) * (1 + 1e-5)) << bits << " bits, seed " << seed;
    }
  }
  const std::vector<float> same(64, 0.25F), weights(64, 1.0F);
  const GroupCode code = search_group(same, weights, 4);
  EXPECT_EQ(code.value(code.code(0.25F, 15)), 0.25F);
}

TEST(ErrorFeedback, HalvesTheErrorOfCorrelatedInputs) {
  ThreadPool pool(2);
  const int64_t size = 192, rows = 37;
  const std::vector<float> h = correlated_moments(size, 800, pool);
  const std::vector<float> w = random_floats(rows * size, 4);
  std::vector<float> diagonal(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) diagonal[i] = h[i * size + i];
  Factor f;
  ASSERT_TRUE(factor(h, size, 1.0F, pool, f));
  for (const int bits : {2, 3, 4, 6, 8}) {
    const auto fed = feed_back(w, f, bits, 64, 2);
    const auto clipped = clip(w, diagonal, bits, 64, 2);
    EXPECT_LT(output_error(w, *fed, h), 0.5 * output_error(w, *clipped, h)) << bits << " bits";
    EXPECT_EQ(feed_back(w, f, bits, 64, 1)->words, fed->words) << "threads change nothing";
  }
}

TEST(LayerPass, ComputesWhatTheReferenceComputes) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  const std::vector<int32_t> tokens = some_sequences(weights->config.vocab_size).front();
  const auto expected = backend::reference::hidden_states(*weights, tokens);
  ThreadPool pool(2);
  for (size_t index = 0; index < weights->layers.size(); ++index) {
    const std::vector<Site> sites = sites_of(weights->layers[index], index);
    FloatMatrices values;
    for (const Site& site : sites) {
      for (const NamedMatrix& named : site.matrices) values.emplace(named.matrix, read_matrix(*named.matrix));
    }
    std::vector<float> hidden = expected[index];
    size_t seen = 0;
    pass_layer(weights->config, weights->layers[index], sites, values, hidden, pool,
               [&](size_t site, std::span<const float> x) {
                 EXPECT_EQ(site, seen++);
                 EXPECT_EQ(std::ssize(x), std::ssize(tokens) * sites[site].width());
                 return true;
               });
    EXPECT_EQ(seen, sites.size());
    if (index + 1 == weights->layers.size()) break;  // the last entry of expected is normed
    for (size_t i = 0; i < hidden.size(); ++i)
      ASSERT_NEAR(hidden[i], expected[index + 1][i], 1e-4) << "layer " << index;
  }
}

TEST(Calibrate, PlansConvertToTheSameBytesOnAnyThreads) {
  const auto source = checkpoint::golden("tiny-hf");
  const auto weights = checkpoint::load_weights(source);
  const auto sequences = some_sequences(weights->config.vocab_size);
  for (const Method method : {Method::clip, Method::gptq}) {
    const TempFolder out;
    for (const int threads : {1, 3}) {
      CalibrateOptions options;
      options.method = method;
      options.threads = threads;
      double last = -1;
      options.progress = [&](const CalibrateProgress& progress) {
        EXPECT_GE(progress.fraction, last);
        last = progress.fraction;
      };
      const auto formats =
          std::make_shared<checkpoint::RulePlan>(checkpoint::rules(4, 32, {"o_proj=16", "up_proj=6:64"}));
      const auto plan = calibrate(*weights, sequences, formats, options);
      EXPECT_GT(last, 0.5);
      checkpoint::convert(source, out.path() / std::to_string(threads), *plan, {});
    }
    EXPECT_EQ(checkpoint::stored_tensors(out.path() / "1"), checkpoint::stored_tensors(out.path() / "3"));
    const auto rtn = checkpoint::rules(4, 32, {"o_proj=16", "up_proj=6:64"});
    checkpoint::convert(source, out.path() / "rtn", rtn, {});
    const auto plain = checkpoint::stored_tensors(out.path() / "rtn");
    size_t others = 0;
    for (const auto& [name, tensor] : checkpoint::stored_tensors(out.path() / "1")) {
      const auto found = plain.find(name);
      ASSERT_NE(found, plain.end()) << name;
      EXPECT_EQ(found->second.shape, tensor.shape) << name << ": the format stays";
      others += found->second.bytes == tensor.bytes ? 0U : 1U;
    }
    EXPECT_GT(others, plain.size() / 4) << "and the codes are others";
    EXPECT_NO_THROW((void)checkpoint::load_weights(out.path() / "1"));
  }
}

TEST(Calibrate, CanBeCancelled) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  CalibrateOptions options;
  int asked = 0;
  options.cancelled = [&] { return ++asked > 3; };
  const auto formats = std::make_shared<checkpoint::RulePlan>(checkpoint::rules(4, 32));
  try {
    (void)calibrate(*weights, some_sequences(weights->config.vocab_size), formats, options);
    FAIL() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
}

TEST(Calibrate, TokensOutsideTheVocabularyAreAnError) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  const auto formats = std::make_shared<checkpoint::RulePlan>(checkpoint::rules(4, 32));
  auto sequences = some_sequences(weights->config.vocab_size);
  sequences[1][2] = static_cast<int32_t>(weights->config.vocab_size);
  try {
    (void)calibrate(*weights, sequences, formats, {});
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
}

TEST(CutSequences, CutsDocumentsAndKeepsTheLimit) {
  std::vector<std::vector<int32_t>> documents(3, std::vector<int32_t>(300, 1));
  const auto sequences = cut_sequences(documents, 128, 500);
  std::vector<size_t> sizes;
  for (const auto& tokens : sequences) sizes.push_back(tokens.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{128, 128, 44, 128, 72}));
  documents.assign(1, std::vector<int32_t>(kLeastTokens - 1, 1));
  EXPECT_THROW((void)cut_sequences(documents, 128, 500), Error);
}

}  // namespace
}  // namespace prosa::calibrate
