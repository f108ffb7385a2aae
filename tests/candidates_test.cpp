// The answers of a row of logits against the definition: the row is altered, everything is sorted and summed naively.
#include "backend/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace prosa::backend {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

using Random = std::mt19937_64;

size_t below(Random& random, size_t n) { return static_cast<size_t>(random() % n); }
bool chance(Random& random, int percent) { return below(random, 100) < static_cast<size_t>(percent); }

std::vector<float> random_row(Random& random, size_t size) {
  std::vector<float> row(size);
  std::normal_distribution<float> normal(0, 4);
  const bool ties = chance(random, 50), holes = chance(random, 30);
  for (float& logit : row) {
    logit = normal(random);
    if (ties) logit = std::round(logit);
    if (holes && chance(random, 30)) logit = chance(random, 50) ? kNaN : -kInfinity;
  }
  return row;
}

std::vector<LogitChange> random_changes(Random& random, size_t size) {
  std::vector<LogitChange> changes;
  const int percent = chance(random, 50) ? 3 : 60;
  for (size_t id = 0; id < size; ++id) {
    if (!chance(random, percent)) continue;
    const float penalty = chance(random, 50) ? 1.0F : 0.5F + static_cast<float>(below(random, 4));
    const float add = chance(random, 50) ? 0.0F : static_cast<float>(below(random, 21)) - 10;
    changes.push_back({static_cast<int32_t>(id), penalty, add});
  }
  return changes;
}

std::vector<uint32_t> random_mask(Random& random, size_t size) {
  std::vector<uint32_t> words((size + 31) / 32);
  const int percent = chance(random, 50) ? 2 : 90;
  for (size_t id = 0; id < size; ++id) words[id / 32] |= static_cast<uint32_t>(chance(random, percent)) << (id % 32);
  if (chance(random, 50)) std::fill_n(words.begin(), below(random, words.size() + 1), ~uint32_t{0});
  if (chance(random, 50)) std::fill_n(words.rbegin(), below(random, words.size() + 1), 0U);
  return words;  // bits beyond the row may be set
}

std::vector<float> altered(std::vector<float> row, const Pick& pick) {
  for (const LogitChange& change : pick.changes) {
    float& logit = row[static_cast<size_t>(change.id)];
    logit = (change.penalty == 1.0F ? logit : logit > 0 ? logit / change.penalty : logit * change.penalty) + change.add;
  }
  for (size_t id = 0; id < row.size() && !pick.allowed.empty(); ++id) {
    if ((pick.allowed[id / 32] >> (id % 32) & 1U) == 0) row[id] = -kInfinity;
  }
  return row;
}

std::vector<Candidate> sorted(const std::vector<float>& row) {
  std::vector<Candidate> all;
  for (size_t id = 0; id < row.size(); ++id) {
    if (row[id] > -kInfinity) all.push_back({row[id], static_cast<int32_t>(id)});
  }
  std::sort(all.begin(), all.end(), better);
  return all;
}

TEST(Candidates, AnswerAsTheAlteredRowDoes) {
  Random random(1);
  for (int i = 0; i < 4000; ++i) {
    const size_t size = i % 2 == 0 ? 1 + below(random, 400) : 1 + below(random, 2500);
    const std::vector<float> row = random_row(random, size);
    const std::vector<LogitChange> changes = chance(random, 70) ? random_changes(random, size) : decltype(changes){};
    const std::vector<uint32_t> mask = chance(random, 60) ? random_mask(random, size) : decltype(mask){};
    const std::vector<int64_t> ks = {1, 1, 2, 50, 256};
    const Pick pick{changes, mask, ks[below(random, ks.size())], chance(random, 50)};
    SCOPED_TRACE(testing::Message() << "case " << i << ": " << size << " logits, k " << pick.k);

    const std::vector<float> naive = altered(row, pick);
    std::vector<Candidate> expected = sorted(naive);
    const size_t finite = expected.size();
    expected.resize(std::min(finite, static_cast<size_t>(pick.k)));
    Candidates answer{{{1.0F, 99}}, 99};  // what an earlier question left
    pick_candidates(row, pick, answer);
    ASSERT_EQ(answer.best, expected);

    if (!pick.log_sum) {
      ASSERT_EQ(answer.log_sum, 0);
    } else if (finite == 0) {
      ASSERT_EQ(answer.log_sum, -std::numeric_limits<double>::infinity());
    } else {
      long double sum = 0;
      for (const float logit : naive) {
        if (logit > -kInfinity) sum += std::exp(static_cast<long double>(logit) - expected[0].logit);
      }
      ASSERT_NEAR(answer.log_sum, static_cast<double>(std::log(sum) + expected[0].logit), 3e-7);
      Candidates of_altered;
      pick_candidates(naive, {{}, {}, 1, true}, of_altered);
      ASSERT_EQ(answer.log_sum, of_altered.log_sum) << "the very bits";
    }
  }
}

TEST(Candidates, LogSumOfAVocabulary) {
  Random random(2);
  for (const float spread : {0.01F, 1.0F, 10.0F}) {
    std::vector<float> row(248320);
    std::normal_distribution<float> normal(-3, spread);
    for (float& logit : row) logit = normal(random);
    long double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<long double>(logit));
    Candidates answer;
    pick_candidates(row, {{}, {}, 50, true}, answer);
    EXPECT_NEAR(answer.log_sum, static_cast<double>(std::log(sum)), 1e-6) << spread;
    row[77] = kInfinity;
    pick_candidates(row, {{}, {}, 1, true}, answer);
    EXPECT_EQ(answer.best, (std::vector<Candidate>{{kInfinity, 77}}));
    EXPECT_EQ(answer.log_sum, std::numeric_limits<double>::infinity());
  }
}

TEST(Candidates, LogSumHasTheSameBitsEverywhere) {  // from whole numbers, so that this test computes nothing itself
  std::vector<float> row(1000);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i * 7919 % 1000) / 64;
  Candidates answer;
  pick_candidates(row, {{}, {}, 1, true}, answer);
  EXPECT_EQ(answer.log_sum, 0x1.3c6abe26c308dp+4);
}

TEST(Candidates, LogSumOfOneTokenIsItsLogit) {
  const std::vector<float> row = {-5.25F, 3.0F, 8.0F};
  const std::vector<uint32_t> only_first = {1};
  Candidates answer;
  pick_candidates(row, {{}, only_first, 1, true}, answer);
  EXPECT_EQ(answer.log_sum, -5.25);
  const std::vector<LogitChange> changes = {{0, 2.0F, 0.5F}};
  pick_candidates(row, {changes, only_first, 3, true}, answer);
  EXPECT_EQ(answer.best, (std::vector<Candidate>{{-10.0F, 0}}));
  EXPECT_EQ(answer.log_sum, -10.0);
}

TEST(Candidates, SelectTheSameAsASort) {
  Random random(3);
  for (const size_t size : {1U, 2U, 127U, 128U, 129U, 1000U, 20011U}) {
    std::vector<float> row = random_row(random, size);
    std::replace_if(
        row.begin(), row.end(), [](float x) { return std::isnan(x); }, -kInfinity);  // sorts below
    std::vector<std::vector<float>> arrangements = {row, row, row};
    std::sort(arrangements[1].begin(), arrangements[1].end());
    std::sort(arrangements[2].begin(), arrangements[2].end(), std::greater<>());
    for (const std::vector<float>& arrangement : arrangements) {
      const std::vector<Candidate> all = sorted(arrangement);
      EXPECT_EQ(select_best(arrangement).id, all.empty() ? -1 : all[0].id);
      for (const size_t k : {1U, 3U, 50U, 1000U}) {
        std::vector<Candidate> selected;
        select_top_k(arrangement, static_cast<int64_t>(k), selected);
        ASSERT_EQ(selected, std::vector<Candidate>(all.begin(),
                                                   all.begin() + static_cast<std::ptrdiff_t>(std::min(k, all.size()))));
      }
      std::vector<Candidate> above;
      select_above(arrangement, 1.5F, above);
      std::vector<Candidate> expected;
      std::copy_if(all.begin(), all.end(), std::back_inserter(expected), [](auto& c) { return c.logit >= 1.5F; });
      std::sort(expected.begin(), expected.end(), [](auto& a, auto& b) { return a.id < b.id; });
      ASSERT_EQ(above, expected);
    }
  }
}

}  // namespace
}  // namespace prosa::backend
