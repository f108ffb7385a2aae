// Calibrated quantization: each part against what it claims, and whole plans on the tiny model.
//
// How much a method helps a trained model is measured, not tested: docs/measurements/quantization.md.
#include "tools/calibrate/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "backend/reference/reference.h"
#include "base/bf16.h"
#include "checkpoint/quantize.h"
#include "convert_fixture.h"
#include "tools/calibrate/allocation.h"
#include "tools/calibrate/awq.h"
#include "tools/calibrate/cholesky.h"
#include "tools/calibrate/coordinate_descent.h"
#include "tools/calibrate/divergence.h"
#include "tools/calibrate/gptq.h"
#include "tools/calibrate/group_search.h"
#include "tools/calibrate/hessian.h"
#include "tools/calibrate/mixed.h"
#include "tools/calibrate/products.h"
#include "tools/calibrate/row_codes.h"
#include "tools/calibrate/sensitivity.h"
#include "tools/calibrate/sublayer.h"
#include "tools/calibrate/token_weights.h"

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
std::vector<float> correlated_hessian(int64_t size, int64_t tokens, ThreadPool& pool) {
  std::vector<float> x = random_floats(tokens * size, 5);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 1; i < size; ++i) x[t * size + i] = 0.8F * x[t * size + i - 1] + 0.6F * x[t * size + i];
  }
  std::vector<float> h(static_cast<size_t>(size * size));
  const View columns = View{x.data(), tokens, size, size}.transposed();
  multiply(columns, columns, Into::assign, h.data(), size, pool);
  return h;
}

StoredRows chosen(std::span<const float> w, int64_t cols, int bits, int threads, const ChooseCodes& choose) {
  StoredRows out(std::ssize(w) / cols, cols, WeightFormat::affine(bits, 64));
  choose_rows(w, 0, threads, choose, out);
  return out;
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

std::vector<std::vector<int32_t>> some_sequences(int64_t vocab, int length = 70) {
  std::mt19937 engine(3);
  std::vector<std::vector<int32_t>> sequences(5);
  for (auto& tokens : sequences) {
    for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(engine() % static_cast<uint32_t>(vocab)));
  }
  return sequences;
}

TEST(CalibrateProducts, AreSumsOfProducts) {
  ThreadPool pool(3);
  struct Shape {
    int64_t m, n, k;
  };
  for (const auto& [m, n, k] : {Shape{53, 101, 1}, Shape{1, 200, 37}, Shape{400, 33, 600}, Shape{13, 31, 256}}) {
    const std::vector<float> a = random_floats(m * k, 1), b = random_floats(n * k, 2);
    const View left{a.data(), m, k, k};
    const View right = View{b.data(), k, n, n}.transposed();  // b is [k, n]
    std::vector<float> c(static_cast<size_t>(m * n), 1.0F), sum(c.size(), 2.0F), alone(static_cast<size_t>(n));
    multiply(left, right, Into::subtract, c.data(), n, pool);
    multiply(left, right, Into::assign, sum.data(), n, pool);
    multiply(left.part(m - 1, m), right, Into::assign, alone.data(), n);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double expected = 0;
        for (int64_t l = 0; l < k; ++l) expected += static_cast<double>(a[i * k + l]) * b[l * n + j];
        ASSERT_NEAR(c[i * n + j], 1 - expected, 1e-3) << k << ": " << i << ", " << j;
        ASSERT_NEAR(sum[i * n + j], expected, 1e-3) << k << ": " << i << ", " << j;
      }
    }
    for (int64_t j = 0; j < n; ++j) ASSERT_EQ(alone[j], sum[(m - 1) * n + j]) << "a row alone";
  }
  std::vector<float> nothing(6, 3.0F);
  multiply({nullptr, 2, 0, 0}, {nullptr, 3, 0, 0}, Into::assign, nothing.data(), 3);
  EXPECT_EQ(nothing, std::vector<float>(6, 0.0F));
}

TEST(Hessian, IsTheSameFromAnyPiecesAndThreads) {
  const int64_t width = 70, tokens = 700;
  const std::vector<float> x = random_floats(tokens * width, 1), original = random_floats(tokens * width, 2);
  std::vector<std::vector<float>> own, cross;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    Hessian hessian(width, true);
    for (int64_t t = 0; t < tokens; t += 100) {
      const auto piece = [&](const std::vector<float>& all) {
        return std::span(all).subspan(static_cast<size_t>(t * width), static_cast<size_t>(100 * width));
      };
      hessian.add(piece(original), piece(x), {}, {}, pool);
    }
    hessian.finish(pool);
    own.push_back(hessian.h);
    cross.push_back(hessian.cross);
  }
  EXPECT_EQ(own[0], own[1]);
  EXPECT_EQ(cross[0], cross[1]);
  double expected = 0, mixed = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    expected += static_cast<double>(x[t * width + 3]) * x[t * width + 69];
    mixed += static_cast<double>(original[t * width + 3]) * x[t * width + 69];
  }
  EXPECT_NEAR(own[0][3 * width + 69], expected, 1e-3);
  EXPECT_NEAR(own[0][69 * width + 3], expected, 1e-3);
  EXPECT_NEAR(cross[0][3 * width + 69], mixed, 1e-3);
}

// The norm behind the residual stream divides by its size: what a token's row comes to is the row over that size.
TEST(Hessian, WeighsATokenByItsResidualAndAsTold) {
  const int64_t width = 20, tokens = 30, hidden = 48;
  ThreadPool pool(1);
  const std::vector<float> x = random_floats(tokens * width, 1), original = random_floats(tokens * width, 2);
  std::vector<float> residual = random_floats(tokens * hidden, 3);
  std::vector<float> counts(static_cast<size_t>(tokens));
  std::vector<float> small_x = x, small_original = original;
  for (int64_t t = 0; t < tokens; ++t) {
    double squares = 0;
    for (int64_t i = 0; i < hidden; ++i) {
      residual[t * hidden + i] *= static_cast<float>(1 + t);
      squares += static_cast<double>(residual[t * hidden + i]) * residual[t * hidden + i];
    }
    counts[t] = 0.25F * static_cast<float>(t % 5);
    const auto factor = static_cast<float>(std::sqrt(counts[t] * static_cast<double>(hidden) / squares));
    for (int64_t i = 0; i < width; ++i) {
      small_x[t * width + i] *= factor;
      small_original[t * width + i] *= factor;
    }
  }
  Hessian weighed(width, true), expected(width, true);
  weighed.add(original, x, residual, counts, pool);
  weighed.finish(pool);
  expected.add(small_original, small_x, {}, {}, pool);
  expected.finish(pool);
  for (int64_t i = 0; i < width * width; ++i) {
    ASSERT_NEAR(weighed.h[i], expected.h[i], 1e-4 + 1e-4 * std::abs(expected.h[i]));
    ASSERT_NEAR(weighed.cross[i], expected.cross[i], 1e-4 + 1e-4 * std::abs(expected.cross[i]));
  }
  // Streams of nothing count much, but no number is lost over them.
  Hessian nothing(width, false);
  nothing.add({}, x, std::vector<float>(static_cast<size_t>(tokens * hidden)), {}, pool);
  nothing.finish(pool);
  for (const float value : nothing.h) ASSERT_TRUE(std::isfinite(value));
}

TEST(Cholesky, GivesTheMatrixBack) {
  ThreadPool pool(2);
  const int64_t size = 150;
  const std::vector<float> h = correlated_hessian(size, 600, pool);
  CholeskyFactor f;
  ASSERT_TRUE(cholesky_factor(h, size, 3.0F, pool, f));
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

TEST(Cholesky, RefusesWhatIsNotPositive) {
  ThreadPool pool(1);
  CholeskyFactor f;
  EXPECT_FALSE(cholesky_factor(std::vector<float>{1, 0, 2, 1}, 2, 0, pool, f));
  EXPECT_FALSE(cholesky_factor(std::vector<float>{NAN, 0, 0, 1}, 2, 0, pool, f));
}

TEST(GroupSearch, IsNeverWorseThanMlx) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> values = random_floats(64, seed);
      std::vector<float> weights = random_floats(64, seed + 100);
      for (float& weight : weights) weight = weight * weight + 0.01F;
      std::vector<uint32_t> words(static_cast<size_t>(2 * bits));
      uint16_t scale = 0, bias = 0;
      checkpoint::quantize_row(values, WeightFormat::affine(bits, 64), words, {&scale, 1}, {&bias, 1},
                               checkpoint::ScaleRule::divided);
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

TEST(Gptq, HalvesTheErrorOfCorrelatedInputs) {
  ThreadPool pool(2);
  const int64_t size = 192, rows = 37;
  const std::vector<float> h = correlated_hessian(size, 800, pool);
  const std::vector<float> w = random_floats(rows * size, 4);
  std::vector<float> diagonal(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) diagonal[i] = h[i * size + i];
  CholeskyFactor f;
  ASSERT_TRUE(cholesky_factor(h, size, 1.0F, pool, f));
  for (const int bits : {2, 3, 4, 6, 8}) {
    const ChooseCodes by_feedback = [&](std::span<const float> x, RowCodes& codes) { gptq(x, f, codes); };
    const StoredRows fed = chosen(w, size, bits, 2, by_feedback);
    const StoredRows clipped =
        chosen(w, size, bits, 2, [&](std::span<const float> x, RowCodes& codes) { clip_search(x, diagonal, codes); });
    EXPECT_LT(output_error(w, fed, h), 0.5 * output_error(w, clipped, h)) << bits << " bits";
    EXPECT_EQ(chosen(w, size, bits, 1, by_feedback).words, fed.words) << "threads change nothing";
  }
}

TEST(CoordinateDescent, LowersTheErrorFromAnyStart) {
  ThreadPool pool(2);
  const int64_t size = 192, rows = 130;
  const std::vector<float> h = correlated_hessian(size, 800, pool);
  const std::vector<float> w = random_floats(rows * size, 4);
  const std::vector<float> alike(static_cast<size_t>(size), 1.0F);
  CholeskyFactor f;
  ASSERT_TRUE(cholesky_factor(h, size, 1.0F, pool, f));
  for (const int bits : {2, 3, 4, 6, 8}) {
    double feedback = 0;
    for (const bool fed : {true, false}) {
      double last = HUGE_VAL;
      for (const int sweeps : {0, 1, 4}) {
        const StoredRows rows_chosen = chosen(w, size, bits, 2, [&](std::span<const float> x, RowCodes& codes) {
          if (fed) {
            gptq(x, f, codes);
          } else {
            clip_search(x, alike, codes);
          }
          coordinate_descent(x, h, sweeps, codes);
        });
        const double error = output_error(w, rows_chosen, h);
        EXPECT_LE(error, last * 1.0001) << bits << " bits, " << sweeps << " sweeps";
        last = error;
        if (fed && sweeps == 0) feedback = error;
      }
      if (fed) {
        EXPECT_LT(last, 0.995 * feedback) << bits << " bits";
      }
    }
  }
  const ChooseCodes choose = [&](std::span<const float> x, RowCodes& codes) {
    clip_search(x, alike, codes);
    coordinate_descent(x, h, 2, codes);
  };
  const StoredRows together = chosen(w, size, 4, 3, choose);
  const StoredRows alone = chosen(std::span(w).last(static_cast<size_t>(size)), size, 4, 1, choose);
  EXPECT_TRUE(std::equal(alone.words.begin(), alone.words.end(), together.words.end() - std::ssize(alone.words)));
  EXPECT_EQ(alone.scales.back(), together.scales.back());
}

TEST(Sublayer, ComputesWhatTheReferenceComputes) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  const std::vector<int32_t> tokens = some_sequences(weights->config.vocab_size).front();
  const auto expected = backend::reference::hidden_states(*weights, tokens);
  ThreadPool pool(2);
  for (size_t index = 0; index + 1 < weights->layers.size(); ++index) {  // the last entry of expected is normed
    std::vector<float> hidden = expected[index];
    for (const Sublayer& sublayer : sublayers_of(weights->layers[index], index, nullptr)) {
      const FloatMatrices values = read_sublayer(sublayer);
      EXPECT_EQ(values.size(), sublayer.matrices().size());
      const auto inside =
          sublayer_inner(weights->config, sublayer, values, sublayer_input(weights->config, sublayer, hidden), pool);
      EXPECT_EQ(std::ssize(inside), std::ssize(tokens) * sublayer.last.matrix->cols);
      run_sublayer(weights->config, sublayer, values, hidden, pool);
    }
    for (size_t i = 0; i < hidden.size(); ++i)
      ASSERT_NEAR(hidden[i], expected[index + 1][i], 1e-4) << "layer " << index;
  }
}

TEST(TokenWeights, FollowTheReferencesPredictions) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  const auto sequences = some_sequences(weights->config.vocab_size);
  std::vector<std::vector<float>> states;
  for (const auto& tokens : sequences) states.push_back(backend::reference::hidden_states(*weights, tokens).back());
  ThreadPool one(1), three(3);
  double told = -1;
  const auto open = gini_impurity(*weights, nullptr, states, three, [&](double fraction) {
    EXPECT_GT(fraction, told);
    told = fraction;
  });
  EXPECT_LT(told, 1);
  EXPECT_EQ(open, gini_impurity(*weights, nullptr, states, one, [](double) {}));
  const Matrix& head = weights->lm_head;
  const std::vector<float> rows = read_rows({"lm_head", &head, nullptr}, 0, head.rows);
  for (size_t s = 0; s < states.size(); ++s) {
    ASSERT_EQ(open[s].size(), sequences[s].size());
    for (int64_t t = 0; t < std::ssize(open[s]); ++t) {
      double sum = 0, squares = 0;
      for (int64_t row = 0; row < head.rows; ++row) {
        double logit = 0;
        for (int64_t i = 0; i < head.cols; ++i)
          logit += static_cast<double>(rows[row * head.cols + i]) * states[s][t * head.cols + i];
        sum += std::exp(logit);
        squares += std::exp(2 * logit);
      }
      ASSERT_NEAR(open[s][t], 1 - squares / (sum * sum), 1e-4);
    }
  }
}

TEST(TokenWeights, AreHalfTheSameForAll) {
  const auto counts = token_weights({{0.0F, 0.5F}, {1.0F, 0.5F}});
  EXPECT_EQ(counts, (std::vector<std::vector<float>>{{0.5F, 1.0F}, {1.5F, 1.0F}}));
  EXPECT_EQ(token_weights({{0.0F}, {0.0F, 0.0F}}), (std::vector<std::vector<float>>{{1.0F}, {1.0F, 1.0F}}));
}

TEST(Divergence, IsThatOfWholeRowsWhateverThePieces) {
  const int64_t tokens = 5, outputs = 90;
  const std::vector<float> a = random_floats(tokens * outputs, 1), b = random_floats(tokens * outputs, 2);
  double expected = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    double a_sum = 0, b_sum = 0;
    for (int64_t i = 0; i < outputs; ++i) {
      a_sum += std::exp(static_cast<double>(a[t * outputs + i]));
      b_sum += std::exp(static_cast<double>(b[t * outputs + i]));
    }
    for (int64_t i = 0; i < outputs; ++i) {
      const double p = std::exp(static_cast<double>(a[t * outputs + i])) / a_sum;
      expected += p * (a[t * outputs + i] - std::log(a_sum) - b[t * outputs + i] + std::log(b_sum));
    }
  }
  ThreadPool pool(2);
  for (const int64_t piece : {90, 30, 1}) {
    Divergence divergence(tokens), none(tokens);
    for (int64_t begin = 0; begin < outputs; begin += piece) {
      std::vector<float> seen, other;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t i = begin; i < begin + piece; ++i) {
          seen.push_back(a[t * outputs + i]);
          other.push_back(b[t * outputs + i]);
        }
      }
      divergence.add(seen, other, piece, pool);
      none.add(seen, seen, piece, pool);
    }
    EXPECT_NEAR(divergence.mean(), expected / tokens, 1e-5) << piece;
    EXPECT_NEAR(none.mean(), 0, 1e-6);
  }
}

TEST(Allocation, SpendsTheBudgetWhereItSavesMost) {
  // By hand: from 10 + 10, with 12 to spend: the first item's step (8 saved for 4) and half of the second's.
  const std::vector<std::vector<Candidate>> items{{{10, 9.0}, {14, 1.0}, {30, 0.9}},
                                                  {{10, 5.0}, {12, 4.9}, {18, 1.0}, {20, 2.0}}};
  EXPECT_EQ(allocate(items, 20), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(allocate(items, 24), (std::vector<size_t>{1, 0}));
  EXPECT_EQ(allocate(items, 31), (std::vector<size_t>{1, 0})) << "12 lies above the hull";
  EXPECT_EQ(allocate(items, 32), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(allocate(items, 1000), (std::vector<size_t>{2, 2}));
  EXPECT_THROW((void)allocate(items, 19), Error);
  EXPECT_TRUE(allocate({}, 0).empty());
}

/// All of the model's matrices as the plan has them: their bits together.
int64_t planned_bits(const Weights& weights, const checkpoint::ConvertPlan& plan) {
  int64_t sum = 0;
  const auto count = [&](const NamedMatrix& named) {
    const WeightFormat format = plan.matrix(named.name, named.matrix->rows, named.matrix->cols).format;
    sum += 8 * format.bytes(named.matrix->rows, named.matrix->cols);
  };
  for (size_t index = 0; index < weights.layers.size(); ++index) {
    for (const Sublayer& sublayer : sublayers_of(weights.layers[index], index, nullptr))
      std::ranges::for_each(sublayer.matrices(), count);
  }
  count({"language_model.model.embed_tokens.weight", &weights.embed_tokens});
  return sum;
}

TEST(Mixed, KeepsBudgetAndExceptionsOnAnyThreads) {
  const auto source = checkpoint::golden("tiny-hf");
  const auto weights = checkpoint::load_weights(source);
  const auto sequences = some_sequences(weights->config.vocab_size, 16);
  const auto rules = std::make_shared<checkpoint::RulePlan>(checkpoint::rules(4, 64, {"layers.0.mlp.up_proj=8:64"}));
  for (const double bits : {4.0, 5.5}) {
    std::vector<std::string> kinds;
    for (const int threads : bits == 4.0 ? std::vector<int>{1, 3} : std::vector<int>{2}) {
      MixedOptions options;
      options.bits = bits;
      options.fixed = [&](const std::string& name) { return rules->override_of(name) != nullptr; };
      options.threads = threads;
      const auto plan = mix_formats(*weights, sequences, rules, options);
      const auto uniform = static_cast<double>(planned_bits(*weights, *rules));
      const auto extra = (bits - 4) / 4.5 * uniform;
      EXPECT_LE(static_cast<double>(planned_bits(*weights, *plan)), uniform + extra) << bits;
      EXPECT_GT(static_cast<double>(planned_bits(*weights, *plan)), 0.95 * (uniform + 0.8 * extra)) << bits;
      EXPECT_EQ(plan->matrix("language_model.model.layers.0.mlp.up_proj.weight", 1, 64).format.bits, 8);
      std::string kind;
      for (size_t index = 0; index < weights->layers.size(); ++index) {
        for (const Sublayer& sublayer : sublayers_of(weights->layers[index], index, nullptr)) {
          for (const NamedMatrix& named : sublayer.matrices())
            kind += std::to_string(plan->matrix(named.name, named.matrix->rows, named.matrix->cols).format.bits);
        }
      }
      kinds.push_back(kind);
    }
    EXPECT_EQ(kinds.front(), kinds.back());
  }
  MixedOptions options;
  options.progress = [](double fraction, std::string_view) {
    if (fraction > 0.5) throw std::runtime_error("enough");
  };
  EXPECT_THROW((void)mix_formats(*weights, sequences, rules, options), std::runtime_error);
}

TEST(Sensitivity, NamesEveryMatrixAndFallsWithBits) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  ThreadPool pool(2);
  const std::vector<WeightFormat> formats{WeightFormat::affine(3, 64), WeightFormat::affine(4, 64),
                                          WeightFormat::affine(6, 64)};
  double told = -1;
  auto text = some_sequences(weights->config.vocab_size);
  for (size_t s = 1; s < text.size(); ++s) text[0].insert(text[0].end(), text[s].begin(), text[s].end());
  text.resize(1);  // one document has to serve for both
  const auto measured = measure_sensitivity(*weights, text, checkpoint::rules(4, 64), formats, pool,
                                            [&](double fraction, std::string_view) {
                                              EXPECT_GE(fraction, told);
                                              told = fraction;
                                            });
  size_t matrices = weights->config.tie_word_embeddings ? 1 : 2;
  for (size_t index = 0; index < weights->layers.size(); ++index) {
    for (const Sublayer& sublayer : sublayers_of(weights->layers[index], index, nullptr))
      matrices += sublayer.matrices().size();
  }
  EXPECT_EQ(measured.size(), matrices);
  for (const Sensitivity& matrix : measured) {
    for (size_t f = 0; f < matrix.formats.size(); ++f) {
      EXPECT_GE(matrix.divergence[f], 0) << matrix.name;
      if (f > 0) {
        EXPECT_LT(matrix.divergence[f], matrix.divergence[f - 1]) << matrix.name;
      }
    }
  }
}

/// What another plan folds, in bfloat16.
class OnlyFolds : public checkpoint::ConvertPlan {
 public:
  explicit OnlyFolds(std::shared_ptr<const checkpoint::ConvertPlan> folds) : folds_(std::move(folds)) {}
  [[nodiscard]] checkpoint::MatrixPlan matrix(const std::string&, int64_t, int64_t) const override {
    return {WeightFormat::dense(DType::bf16), nullptr};
  }
  void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
    folds_->fold(name, values, first_row, cols);
  }

 private:
  std::shared_ptr<const checkpoint::ConvertPlan> folds_;
};

/// 3 bits, and rows and norms whose sizes differ, so that columns behind them do.
class Uneven : public checkpoint::ConvertPlan {
 public:
  [[nodiscard]] checkpoint::MatrixPlan matrix(const std::string&, int64_t, int64_t) const override {
    return {WeightFormat::affine(3, 32), nullptr};
  }
  void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
    const bool by_row = name.ends_with("v_proj.weight") || name.ends_with("up_proj.weight");
    if (!by_row && !name.ends_with("linear_attn.norm.weight") && !name.ends_with("layernorm.weight")) return;
    for (size_t at = 0; at < values.size(); ++at) {
      const auto i = by_row ? first_row + static_cast<int64_t>(at) / cols : static_cast<int64_t>(at) % cols;
      values[at] *= static_cast<float>(std::exp(2 * std::sin(1.7 * static_cast<double>(i))));
    }
  }
};

TEST(Awq, LeavesTheModelAsItIs) {
  const auto source = checkpoint::golden("tiny-hf");
  const auto weights = checkpoint::load_weights(source);
  const auto sequences = some_sequences(weights->config.vocab_size);
  const auto formats = std::make_shared<Uneven>();
  const auto folds = search_awq_scales(*weights, sequences, formats, 2, [](double, std::string_view) {});
  const TempFolder out;
  checkpoint::convert(source, out.path() / "plain", OnlyFolds(formats), {});
  checkpoint::convert(source, out.path() / "folded", OnlyFolds(folds), {});
  const auto plain_tensors = checkpoint::stored_tensors(out.path() / "plain");
  std::set<std::string> kinds;  // of tensors that changed
  for (const auto& [name, tensor] : checkpoint::stored_tensors(out.path() / "folded")) {
    if (tensor.bytes == plain_tensors.at(name).bytes) continue;
    const std::string module = name.substr(0, name.rfind('.'));
    kinds.insert(module.substr(module.rfind('.') + 1));
  }
  for (const char* kind : {"input_layernorm", "post_attention_layernorm", "in_proj_qkv", "q_proj", "v_proj", "o_proj",
                           "norm", "out_proj", "gate_proj", "up_proj", "down_proj"})
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  EXPECT_FALSE(kinds.contains("embed_tokens"));
  const auto plain = checkpoint::load_weights(out.path() / "plain");
  const auto folded = checkpoint::load_weights(out.path() / "folded");
  const auto expected = backend::reference::hidden_states(*plain, sequences.front()).back();
  const auto seen = backend::reference::hidden_states(*folded, sequences.front()).back();
  double off = 0;
  double all = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    off += std::pow(static_cast<double>(expected[i]) - seen[i], 2);
    all += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_LT(std::sqrt(off / all), 0.02) << "bfloat16's rounding";
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
      options.progress = [&](double fraction, std::string_view /*what*/) {
        EXPECT_GE(fraction, last);
        last = fraction;
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

TEST(Calibrate, EndsWithWhatProgressThrows) {
  const auto weights = checkpoint::load_weights(checkpoint::golden("tiny-hf"));
  CalibrateOptions options;
  options.progress = [](double fraction, std::string_view) {
    if (fraction > 0.3) throw Error(ErrorCode::cancelled, "enough");
  };
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
  documents.assign(1, std::vector<int32_t>(kMinTokens - 1, 1));
  EXPECT_THROW((void)cut_sequences(documents, 128, 500), Error);
}

}  // namespace
}  // namespace prosa::calibrate
