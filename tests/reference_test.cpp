// The reference backend against the official implementation: every golden folder, logits, hidden states, greedy tokens.
//
// The bounds are those of docs/reference/numerics.md: logits within 1e-3 absolute, hidden states within 2e-3 relative
// to the largest value of the tensor, greedy ids equal. Each test prints what it measured. Properties that hold for
// every backend are in backend_*_test.cpp.
#include "backend/reference/reference.h"

#include <gtest/gtest.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "backend/reference/formulas.h"
#include "backend_fixture.h"
#include "checkpoint/checkpoint.h"
#include "golden.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using test::Golden;

constexpr double kLogitBound = 2e-4;
constexpr double kHiddenBound = 2e-4;

std::unique_ptr<backend::Backend> make_reference(std::shared_ptr<const Weights> weights) {
  return backend::make_reference_backend(std::move(weights), {});
}

/// Feeds a prompt and decodes greedily; compares everything the folder has.
void expect_golden(backend::Backend& reference, const Golden& golden, int length) {
  const std::string prompt = "prompt_" + std::to_string(length);
  const std::vector<int32_t> ids = golden.ids(prompt + ".input_ids");
  const std::vector<int32_t> greedy_ids = golden.ids(prompt + ".greedy_ids");
  const std::vector<float> expected = golden.floats(prompt + ".logits");
  const std::vector<float> greedy_expected = golden.floats(prompt + ".greedy_logits");
  const auto vocab = static_cast<size_t>(reference.config().vocab_size);
  const bool all = expected.size() == ids.size() * vocab;
  ASSERT_TRUE(all || expected.size() == vocab);

  const auto state = reference.new_state(static_cast<int64_t>(ids.size() + greedy_ids.size()));
  const std::vector<float> logits =
      test::prefill(reference, *state, ids, all ? backend::Rows::all : backend::Rows::last);
  const double prompt_diff = test::max_abs_diff(expected, logits);
  EXPECT_LE(prompt_diff, kLogitBound) << prompt;

  std::vector<float> decoded;  // [K, vocab]
  std::vector<int32_t> chosen;
  std::vector<float> row(logits.end() - static_cast<std::ptrdiff_t>(vocab), logits.end());
  for (size_t step = 0; step < greedy_ids.size(); ++step) {
    chosen.push_back(static_cast<int32_t>(test::argmax(row)));
    row = test::decode(reference, *state, std::span(&chosen.back(), 1));
    decoded.insert(decoded.end(), row.begin(), row.end());
  }
  EXPECT_EQ(chosen, greedy_ids) << prompt;
  const std::span<const float> compared = std::span(decoded).last(greedy_expected.size());  // all, or the last row
  const double greedy_diff = test::max_abs_diff(greedy_expected, compared);
  EXPECT_LE(greedy_diff, kLogitBound) << prompt;
  std::cout << "  " << prompt << ": max diff of logits " << prompt_diff << ", of greedy logits " << greedy_diff << "\n";
}

class GoldenFolder : public testing::TestWithParam<std::string> {};

TEST_P(GoldenFolder, LogitsAndGreedyTokens) {
  const Golden golden(GetParam());
  const auto reference = make_reference(test::load_model(GetParam()));
  for (const int length : golden.prompts()) expect_golden(*reference, golden, length);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFolder,
                         testing::Values("tiny-hf", "grouped-hf", "tiny-mlx-4bit", "grouped-mlx-4bit", "tiny-mlx-mixed",
                                         "tiny-flat-5bit", "tiny-flat-8bit"),
                         [](const auto& param) { return test::test_name(param.param); });

class GoldenHidden : public testing::TestWithParam<std::string> {};

TEST_P(GoldenHidden, EveryLayer) {
  const Golden golden(GetParam());
  const auto weights = test::load_model(GetParam());
  double worst = 0;
  for (const int length : golden.prompts()) {
    const std::string prompt = "prompt_" + std::to_string(length);
    const auto hidden = backend::reference::hidden_states(*weights, golden.ids(prompt + ".input_ids"));
    ASSERT_EQ(hidden.size(), weights->layers.size() + 1);
    for (size_t i = 0; i < hidden.size(); ++i) {
      const std::string name = prompt + ".hidden_" + (i < 10 ? "0" : "") + std::to_string(i);
      const double diff = test::max_abs_diff(golden.floats(name), hidden[i]);
      EXPECT_LE(diff, kHiddenBound) << name;
      if (i == 0) {
        EXPECT_EQ(diff, 0) << "embeddings are copied, not computed";
      }
      worst = std::max(worst, diff);
    }
  }
  std::cout << "  max diff of hidden states " << worst << "\n";
}

INSTANTIATE_TEST_SUITE_P(All, GoldenHidden, testing::Values("tiny-hf", "grouped-hf"),
                         [](const auto& param) { return test::test_name(param.param); });

TEST(GoldenMtp, Logits) {
  const Golden golden("tiny-mtp");
  const auto weights = test::load_model("tiny-mtp");
  ASSERT_TRUE(weights->mtp.has_value());
  const std::vector<int32_t> ids = golden.ids("input_ids");
  const std::vector<float> hidden = golden.floats("hidden_after_final_norm");

  // The hidden states that the head is fed are those of the main model.
  const double hidden_diff = test::max_abs_diff(hidden, backend::reference::hidden_states(*weights, ids).back());
  EXPECT_LE(hidden_diff, kHiddenBound);
  const double diff =
      test::max_abs_diff(golden.floats("mtp_logits"), backend::reference::mtp_logits(*weights, ids, hidden));
  EXPECT_LE(diff, kLogitBound);
  std::cout << "  max diff of hidden states " << hidden_diff << ", of logits " << diff << "\n";
}

TEST(GoldenMtp, AbsentHeadAndBadSizesAreErrors) {
  const auto without = test::load_model("tiny-hf");
  const auto with = test::load_model("tiny-mtp");
  const std::vector<int32_t> ids = {1, 2, 3};
  const std::vector<float> hidden(ids.size() * static_cast<size_t>(with->config.hidden_size));
  const auto code = [&](const Weights& w, std::span<const int32_t> tokens, std::span<const float> h) {
    return test::error_code([&] { (void)backend::reference::mtp_logits(w, tokens, h); });
  };
  EXPECT_EQ(code(*without, ids, hidden), ErrorCode::unsupported);
  EXPECT_EQ(code(*with, ids, std::span(hidden).first(5)), ErrorCode::invalid_argument);
  EXPECT_EQ(code(*with, std::span(ids).first(1), {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(*with, std::vector<int32_t>{1, 2, 512}, hidden), ErrorCode::invalid_argument);
}

// ---- full size ------------------------------------------------------------------------------------------------------

/// Why the full-size test can't run here; empty when it can.
std::string reason_to_skip(const fs::path& cache) {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  return "752 M parameters under a sanitizer";
#endif
  struct sysinfo info {};
  if (sysinfo(&info) != 0 || info.totalram * info.mem_unit < (uint64_t{6} << 30)) return "less than 6 GiB of memory";
  if (!fs::exists(cache) && fs::space(cache.parent_path()).available < (uint64_t{4} << 30)) {
    return "less than 4 GiB free in " + cache.parent_path().string();
  }
  // An emulator or a debug build: see how long a thousandth of one decode step takes.
  const std::vector<float> a(1024, 0.5F);
  volatile float sink = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 752; ++i) sink = sink + backend::reference::dot(a.data(), a.data(), 1024);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  if (elapsed.count() > 0.02) return "this machine is an emulator, or far too slow";
  return {};
}

TEST(GoldenFullSize, Qwen35_0_8B) {
  const fs::path cache = fs::current_path() / "qwen3.5-0.8b-seed1";
  if (const std::string reason = reason_to_skip(cache); !reason.empty()) GTEST_SKIP() << reason;
  test::synthesize_full_size(cache);
  const Golden golden("qwen3.5-0.8b-synthetic");
  const auto weights = checkpoint::load_weights(cache);
  ASSERT_EQ(weights->parameter_count(), 752'393'024);
  const auto reference = make_reference(weights);
  expect_golden(*reference, golden, 20);
}

// ---- formulas -------------------------------------------------------------------------------------------------------

TEST(Formulas, DeltaRuleByHand) {
  // S = [[1, 0], [0, 1]], g = 1/2, k = e0, v = (3, 5), beta = 1/2:
  // S <- S / 2; S^T k = (1/2, 0); delta = (5/4, 5/2); S <- [[7/4, 5/2], [0, 1/2]]; S^T (1, 2) = (7/4, 7/2)
  std::vector<float> s = {1, 0, 0, 1};
  std::vector<float> out(2);
  backend::reference::delta_rule(s, std::vector<float>{1, 2}, std::vector<float>{1, 0}, std::vector<float>{3, 5}, 0.5F,
                                 0.5F, out);
  EXPECT_EQ(s, (std::vector<float>{1.75F, 2.5F, 0, 0.5F}));
  EXPECT_EQ(out, (std::vector<float>{1.75F, 3.5F}));
}

TEST(Formulas, RotatePairsDimsHalfTheRotaryPartApart) {
  // theta = 1: every pair turns by `position` radians.
  std::vector<float> head = {1, 0, 0, 2, 7, 8};
  backend::reference::rotate(head, 4, 1.0, 1);
  const float c = std::cos(1.0F);
  const float s = std::sin(1.0F);
  const std::vector<float> expected = {c, -2 * s, s, 2 * c, 7, 8};
  for (size_t i = 0; i < head.size(); ++i) EXPECT_NEAR(head[i], expected[i], 1e-6) << i;
}

TEST(Formulas, ExtremesStayFinite) {
  using namespace backend::reference;
  EXPECT_EQ(softplus(1000), 1000);
  EXPECT_NEAR(softplus(20), 20, 1e-5);
  EXPECT_EQ(softplus(-1000), 0);
  EXPECT_EQ(silu(-1000), 0);
  EXPECT_EQ(silu(1000), 1000);
  std::vector<float> flat = {1e30F, 1e30F};
  softmax(flat);
  EXPECT_EQ(flat, (std::vector<float>{0.5F, 0.5F}));
  std::vector<float> zero(4);
  l2_normalize(zero);
  EXPECT_EQ(zero, std::vector<float>(4));
}

}  // namespace
}  // namespace prosa
