// The library part of eval: windows, statistics and row scores against values worked out by hand or in long double, and
// whole evaluations of golden models against the logits of their backends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "eval_fixture.h"
#include "fake_backend.h"
#include "tools/eval/evaluate.h"
#include "tools/eval/row_scores.h"

namespace prosa::eval {
namespace {

using testing::ElementsAre;

/// {document, begin, end, first scored} of every window.
std::vector<std::vector<int64_t>> windows_of(const std::vector<int64_t>& lengths, const WindowOptions& options) {
  std::vector<std::vector<int64_t>> windows;
  for (const Window& w : plan_windows(documents_of(lengths), options).windows) {
    windows.push_back({w.document, w.begin, w.end, w.first_scored});
  }
  return windows;
}

TEST(Windows, NonOverlappingOnesDropTheTail) {
  EXPECT_THAT(windows_of({10}, {.window = 4}), ElementsAre(ElementsAre(0, 0, 4, 1), ElementsAre(0, 4, 8, 5)));
  const WindowPlan plan = plan_windows(documents_of({10}), {.window = 4});
  EXPECT_EQ(plan.scored, 6);
  EXPECT_EQ(plan.tokens, 8);
  EXPECT_EQ(plan.dropped, 2);
}

TEST(Windows, KeptTailIsAShorterWindowUnlessItIsOneToken) {
  EXPECT_THAT(windows_of({10}, {.window = 4, .tail = Tail::keep}),
              ElementsAre(ElementsAre(0, 0, 4, 1), ElementsAre(0, 4, 8, 5), ElementsAre(0, 8, 10, 9)));
  EXPECT_THAT(windows_of({5}, {.window = 4, .tail = Tail::keep}), ElementsAre(ElementsAre(0, 0, 4, 1)));
}

TEST(Windows, OverlappingOnesScoreEveryTokenButTheFirstOnce) {
  EXPECT_THAT(
      windows_of({9}, {.window = 4, .stride = 2, .tail = Tail::keep}),
      ElementsAre(ElementsAre(0, 0, 4, 1), ElementsAre(0, 2, 6, 4), ElementsAre(0, 4, 8, 6), ElementsAre(0, 6, 9, 8)));
  for (int64_t length = 2; length < 40; ++length) {
    for (int64_t stride = 1; stride < 7; ++stride) {
      const WindowPlan plan = plan_windows(documents_of({length}), {.window = 7, .stride = stride, .tail = Tail::keep});
      EXPECT_EQ(plan.scored, length - 1) << length << " " << stride;
      EXPECT_EQ(plan.dropped, 0);
    }
  }
}

TEST(Windows, SkippedPredictionsAreFedButNotScored) {
  // llama.cpp's rule: the second half of a window, predicted by its tokens from the middle on.
  EXPECT_THAT(windows_of({8}, {.window = 8, .skip = 4}), ElementsAre(ElementsAre(0, 0, 8, 5)));
}

TEST(Windows, DocumentsStandForThemselvesAndTheLimitCountsAllOfThem) {
  EXPECT_THAT(windows_of({3, 1, 6}, {.window = 4, .limit = 8, .tail = Tail::keep}),
              ElementsAre(ElementsAre(0, 0, 3, 1), ElementsAre(2, 0, 4, 1)));
}

TEST(Windows, NothingToScoreIsAnError) {
  EXPECT_EQ(code_of([] { plan_windows(documents_of({3}), {.window = 4}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { plan_windows(documents_of({1}), {.window = 4, .tail = Tail::keep}); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { plan_windows({}, {}); }), ErrorCode::invalid_argument);
  for (const WindowOptions& wrong :
       {WindowOptions{.window = 1}, WindowOptions{.window = 4, .stride = 5}, WindowOptions{.window = 4, .stride = -1},
        WindowOptions{.window = 4, .skip = 3}, WindowOptions{.window = 4, .limit = -1}}) {
    EXPECT_EQ(code_of([&] { plan_windows(documents_of({100}), wrong); }), ErrorCode::invalid_argument);
  }
}

TEST(Statistics, MeansAndQuantilesByHand) {
  const std::vector<double> values = {1, 2, 4, 9};
  const Mean mean = mean_of(values);
  EXPECT_DOUBLE_EQ(mean.value, 4);
  EXPECT_DOUBLE_EQ(mean.standard_error, std::sqrt((9.0 + 4 + 0 + 25) / 3 / 4));
  EXPECT_EQ(mean_of(std::vector<double>{7}).standard_error, 0);
  EXPECT_DOUBLE_EQ(quantile(values, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(values, 0.5), 3);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 4 + 0.7 * 5);
  EXPECT_DOUBLE_EQ(quantile(values, 1), 9);
}

TEST(Statistics, BinsByPosition) {
  const std::vector<int32_t> places = {0, 1, 2, 5, 0};
  const std::vector<double> nll = {1, 2, 3, 4, 5}, kl = {10, 20, 30, 40, 50};
  const std::vector<PositionBin> bins = by_position(places, nll, kl, 3);
  ASSERT_EQ(bins.size(), 3U);
  EXPECT_EQ(bins[0].tokens, 3);
  EXPECT_DOUBLE_EQ(bins[0].nll, 8.0 / 3);
  EXPECT_DOUBLE_EQ(bins[0].kl, 80.0 / 3);
  EXPECT_EQ(bins[1].begin, 2);
  EXPECT_EQ(bins[1].end, 4);
  EXPECT_DOUBLE_EQ(bins[2].kl, 40);
  EXPECT_EQ(by_position(places, nll, {}, 100).size(), 4U);  // places 3 and 4 are empty
}

TEST(Statistics, HistogramCountsEverythingOnce) {
  const std::vector<double> values = {0, 1e-12, 1e-9, 1e-3, 1e-3, 0.00158, 2.5};
  const std::vector<HistogramBin> bins = log_histogram(values);
  int64_t count = 0;
  for (const HistogramBin& bin : bins) {
    count += bin.count;
    if (&bin == &bins.front()) continue;
    EXPECT_EQ(bin.count, std::ranges::count_if(values, [&](double v) { return v >= bin.low && v < bin.high; }))
        << bin.low;
  }
  EXPECT_EQ(count, 7);
  EXPECT_EQ(bins.front().count, 3);
  EXPECT_EQ(bins.back().count, 1);
}

/// The same in long double.
struct Exact {
  explicit Exact(const std::vector<float>& row) : logits(row) {
    const long double top = std::ranges::max(row);
    long double sum = 0;
    for (const float value : row) sum += std::exp(static_cast<long double>(value) - top);
    log_sum = top + std::log(sum);
  }
  [[nodiscard]] long double log_p(size_t i) const { return static_cast<long double>(logits[i]) - log_sum; }
  const std::vector<float>& logits;
  long double log_sum = 0;
};

double exact_kl(const std::vector<float>& p, const std::vector<float>& q) {
  const Exact a(p), b(q);
  long double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(a.log_p(i)) * (a.log_p(i) - b.log_p(i));
  return static_cast<double>(sum);
}

double kl_of(const std::vector<float>& p, const std::vector<float>& q) {
  return kl_of_rows(p, score_row(p, 0), q, score_row(q, 0));
}

TEST(RowScores, ByHand) {
  const std::vector<float> row = {0, std::log(2.0F), std::log(5.0F)};  // 1/8, 2/8, 5/8
  const RowScore score = score_row(row, 1);
  EXPECT_TRUE(score.finite);
  EXPECT_EQ(score.top1, 2);
  EXPECT_NEAR(score.nll, std::log(4.0), 1e-6);
  const std::vector<float> even = {3, 3, 3};
  EXPECT_NEAR(kl_of(row, even), std::log(3.0) + (std::log(0.125) + 2 * std::log(0.25) + 5 * std::log(0.625)) / 8, 1e-6);
  EXPECT_EQ(score_row(even, 2).top1, 0);  // the first of equals
}

TEST(RowScores, AnySizeAndAnyDistanceAgreeWithLongDouble) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const size_t size : {size_t{2}, size_t{255}, size_t{256}, size_t{257}, size_t{5000}}) {
    for (const float scale : {0.5F, 8.0F}) {
      for (const float noise : {1e-4F, 1e-2F, 0.3F, 3.0F, 30.0F}) {
        std::vector<float> p(size), q(size);
        for (size_t i = 0; i < size; ++i) {
          p[i] = scale * normal(random);
          q[i] = p[i] + noise * normal(random) + 5;
        }
        const Exact exact(q);
        const auto truth = static_cast<int32_t>(size / 2);
        EXPECT_NEAR(score_row(q, truth).nll, static_cast<double>(-exact.log_p(size / 2)), 2e-6);
        EXPECT_EQ(score_row(q, truth).top1, std::ranges::max_element(q) - q.begin());
        // q holds p to float's rounding: that is the floor of what can be told.
        const double expected = exact_kl(p, q);
        EXPECT_NEAR(kl_of(p, q), expected, 1e-4 * expected + 1e-13) << size << " " << scale << " " << noise;
        EXPECT_GE(kl_of(p, q), 0);
      }
    }
  }
}

TEST(RowScores, EqualRowsAreExactlyZeroApart) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> row(1000);
  for (float& value : row) value = 10 * normal(random);
  EXPECT_EQ(kl_of(row, row), 0);
}

TEST(RowScores, SeesEveryValueThatIsNoNumber) {
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{0}, size_t{255}, size_t{256}, size_t{299}}) {
      std::vector<float> row(300, 1.0F);
      row[at] = wrong;
      EXPECT_FALSE(score_row(row, 0).finite) << at;
    }
  }
}

TEST(RowScores, HugeLogitsStayNumbers) {
  const std::vector<float> p = {3e38F, -3e38F, 0}, q = {-3e38F, 3e38F, 0};
  EXPECT_FALSE(std::isnan(kl_of(p, q)));
  EXPECT_EQ(kl_of(p, p), 0);
}

/// Everything that may not depend on threads or on the run.
std::vector<double> numbers_of(const EvalReport& report) {
  std::vector<double> numbers = {report.model.nll.value, report.model.nll.standard_error, report.model.perplexity};
  if (report.divergence) {
    const Divergence& d = *report.divergence;
    for (const double value : {d.kl.value, d.kl.standard_error, d.kl_median, d.kl_p90, d.kl_p99, d.kl_max, d.top1.value,
                               d.probability_difference.value, d.nll_difference.value}) {
      numbers.push_back(value);
    }
  }
  for (const PositionBin& bin : report.positions) numbers.insert(numbers.end(), {bin.nll, bin.kl});
  return numbers;
}

/// [n, vocab] of a state of their own, in one call.
std::vector<float> logits_at_once(backend::Backend& backend, std::span<const int32_t> tokens) {
  const auto state = backend.new_state(static_cast<int64_t>(tokens.size()));
  backend::Segment segment;
  segment.state = state.get();
  segment.tokens = tokens;
  segment.rows = backend::Rows::all;
  backend.run({&segment, 1});
  const auto vocab = static_cast<size_t>(backend.config().vocab_size);
  std::vector<float> logits(tokens.size() * vocab);
  for (size_t row = 0; row < tokens.size(); ++row)
    backend.logits(*state, static_cast<int64_t>(row), std::span(logits).subspan(row * vocab, vocab));
  return logits;
}

TEST(Evaluate, AgreesWithLogitsOfOneLongPass) {
  const auto model = tiny("tiny-hf", "reference", 1);
  const auto other = tiny("tiny-mlx-4bit", "reference", 1);
  const auto vocab = static_cast<size_t>(model->config().vocab_size);
  const std::vector<Document> documents = some_text(700, static_cast<int32_t>(vocab));
  const EvalReport report = kl_and_perplexity(*other, model.get(), documents, {.windows = {.window = 350}});
  double nll = 0, kl = 0;
  for (const size_t begin : {size_t{0}, size_t{350}}) {
    const std::span<const int32_t> tokens = std::span(documents[0].tokens).subspan(begin, 350);
    const std::vector<float> p = logits_at_once(*model, tokens), q = logits_at_once(*other, tokens);
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto row = [&](const std::vector<float>& all) {
        const auto from = all.begin() + static_cast<std::ptrdiff_t>(i * vocab);
        return std::vector<float>(from, from + static_cast<std::ptrdiff_t>(vocab));
      };
      const std::vector<float> a = row(p), b = row(q);
      nll -= static_cast<double>(Exact(b).log_p(static_cast<size_t>(tokens[i + 1])));
      kl += exact_kl(a, b);
    }
  }
  EXPECT_EQ(report.scored, 698);
  EXPECT_NEAR(report.model.nll.value, nll / 698, 1e-6);
  EXPECT_NEAR(report.divergence->kl.value, kl / 698, 1e-5 * kl / 698);
  EXPECT_GT(report.divergence->kl.value, 1e-5);
  EXPECT_LE(report.divergence->kl_median, report.divergence->kl_p90);
  EXPECT_LE(report.divergence->kl_p99, report.divergence->kl_max);
  EXPECT_NEAR(report.divergence->nll_difference.value, report.model.nll.value - report.reference->nll.value, 1e-9);
}

TEST(Evaluate, ThreadsAndAReferenceChangeNoBit) {
  const std::vector<Document> documents = some_text(600, 500);
  const EvalOptions options{.windows = {.window = 300, .stride = 200, .tail = Tail::keep}};
  const auto one = tiny("tiny-mlx-4bit", "cpu", 1), three = tiny("tiny-mlx-4bit", "cpu", 3);
  const auto reference_one = tiny("tiny-hf", "cpu", 1), reference_two = tiny("tiny-hf", "cpu", 2);
  const EvalReport a = kl_and_perplexity(*one, reference_one.get(), documents, options);
  const EvalReport b = kl_and_perplexity(*three, reference_two.get(), documents, options);
  EXPECT_EQ(numbers_of(a), numbers_of(b));
  EXPECT_EQ(a.scored, 599);
  const EvalReport alone = kl_and_perplexity(*three, nullptr, documents, options);
  EXPECT_EQ(alone.model.nll.value, a.model.nll.value);
  EXPECT_FALSE(alone.divergence.has_value());
  const EvalReport again = kl_and_perplexity(*three, reference_two.get(), documents, options);
  EXPECT_EQ(numbers_of(again), numbers_of(a));
}

TEST(Evaluate, AModelIsZeroFromItself) {
  const auto one = tiny("tiny-hf", "cpu", 1), two = tiny("tiny-hf", "cpu", 2);
  const EvalReport report = kl_and_perplexity(*one, two.get(), some_text(300, 500), {.windows = {.window = 100}});
  EXPECT_EQ(report.divergence->kl.value, 0);
  EXPECT_EQ(report.divergence->kl_max, 0);
  EXPECT_EQ(report.divergence->top1.value, 1);
  EXPECT_EQ(report.divergence->probability_difference.value, 0);
  EXPECT_EQ(report.divergence->nll_difference.value, 0);
}

TEST(Evaluate, BytesProgressAndSkip) {
  const auto model = tiny("tiny-hf", "cpu", 1);
  EvalOptions options{.windows = {.window = 100, .skip = 50}};
  options.token_bytes = [](int32_t) { return int64_t{3}; };
  Progress last;
  options.progress = [&](const Progress& progress) {
    EXPECT_GT(progress.done, last.done);
    last = progress;
  };
  const EvalReport report = kl_and_perplexity(*model, nullptr, some_text(250, 500), options);
  EXPECT_EQ(report.scored, 2 * 49);
  EXPECT_EQ(report.bytes, 3 * 98);
  EXPECT_NEAR(*report.model.bits_per_byte, report.model.nll.value / std::log(2.0) / 3, 1e-12);
  EXPECT_EQ(last.done, last.total);
  EXPECT_NEAR(last.nll, report.model.nll.value, 1e-12);
  EXPECT_EQ(report.positions.front().begin, 50);
}

TEST(Evaluate, WrongInputs) {
  const auto model = tiny("tiny-hf", "cpu", 1);
  test::FakeBackend other(7);
  const auto documents = some_text(300, 7);
  const EvalOptions options{.windows = {.window = 100}};
  EXPECT_EQ(code_of([&] { kl_and_perplexity(*model, &other, documents, options); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { kl_and_perplexity(*model, nullptr, some_text(300, 1 << 30), options); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] {
              kl_and_perplexity(*model, nullptr, some_text(3, 7),
                                {.windows = {.window = int64_t{1} << 20, .tail = Tail::drop}});
            }),
            ErrorCode::invalid_argument);
  const std::atomic<bool> cancel = true;
  EvalOptions cancelled = options;
  cancelled.cancel = &cancel;
  EXPECT_EQ(code_of([&] { kl_and_perplexity(*model, nullptr, documents, cancelled); }), ErrorCode::cancelled);
}

TEST(Evaluate, LogitsThatAreNoNumbersEndIt) {
  ScriptedSource good(1), bad(std::nanf(""));
  const std::vector<Document> documents = documents_of({12});
  const EvalOptions options{.windows = {.window = 12}};
  EXPECT_EQ(code_of([&] { kl_and_perplexity(bad, nullptr, documents, options); }), ErrorCode::bad_checkpoint);
  EXPECT_EQ(code_of([&] { kl_and_perplexity(good, &bad, documents, options); }), ErrorCode::bad_checkpoint);
}

}  // namespace
}  // namespace prosa::eval
