// Questions to rows: the card's answers are those of pick_candidates() over the row's logits, for random and for mean
// cases; what a cancel, a broken call and too much memory leave behind.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

using backend::Candidates;
using backend::LogitChange;
using backend::Pick;
using backend::RowPick;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Question {
  std::vector<LogitChange> changes;
  std::vector<uint32_t> allowed;
  Pick pick;
};

Question random_question(std::mt19937& random, int64_t vocab) {
  Question question;
  if (random() % 2 == 0) {
    std::set<int32_t> ids;
    const size_t wanted = random() % 100;
    while (ids.size() < wanted) ids.insert(static_cast<int32_t>(random() % static_cast<uint32_t>(vocab)));
    for (const int32_t id : ids)
      question.changes.push_back({id, random() % 3 == 0 ? 1.0F : 0.5F + static_cast<float>(random() % 100) / 50,
                                  random() % 3 == 0 ? 0.0F : static_cast<float>(random() % 100) / 25 - 2});
  }
  if (random() % 3 == 0) {
    question.allowed.resize(static_cast<size_t>((vocab + 31) / 32));
    const uint32_t thin = random() % 3;
    for (uint32_t& word : question.allowed) {
      word = static_cast<uint32_t>(random());
      for (uint32_t i = 0; i < thin; ++i) word &= static_cast<uint32_t>(random());
    }
  }
  constexpr int64_t kSizes[] = {1, 1, 2, 20, 50, 64, 100, 256};
  question.pick = {question.changes, question.allowed, kSizes[random() % 8], random() % 2 == 0};
  return question;
}

void expect_same(const Candidates& expected, const Candidates& actual) {
  EXPECT_EQ(expected.best.size(), actual.best.size());
  EXPECT_TRUE(expected.best == actual.best);
  const bool both = expected.log_sum == actual.log_sum;
  EXPECT_TRUE(both || std::abs(expected.log_sum - actual.log_sum) <= 2e-6 * (1 + std::abs(expected.log_sum)))
      << expected.log_sum << " and " << actual.log_sum;
}

std::vector<float> row_of(std::mt19937& random, size_t vocab, int kind) {
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> row(vocab);
  for (size_t i = 0; i < vocab; ++i) {
    row[i] = normal(random);
    if (kind == 1) row[i] = std::round(row[i]);            // many ties
    if (kind == 2) row[i] = static_cast<float>(i) / 1000;  // the best all in one place
    if (kind == 3 && random() % 5 == 0) row[i] = -kInfinity;
    if (kind == 4 && random() % 5 == 0) row[i] = std::numeric_limits<float>::quiet_NaN();
    if (kind == 5) row[i] = 1.5F;        // nothing but ties
    if (kind == 6) row[i] = -kInfinity;  // nothing at all
    if (kind == 7 && i == vocab / 2) row[i] = kInfinity;
    if (kind == 8) row[i] = random() % 2 == 0 ? 0.0F : -0.0F;
  }
  return row;
}

TEST(Picks, AreThoseOfTheHost) {
  std::mt19937 random(5);
  for (const char* model : {"tiny-mlx-4bit", "grouped-mlx-4bit"}) {
    const auto backend = backend::make_backend("cuda", load_model(model), {});
    const int64_t vocab = backend->config().vocab_size;
    std::vector<std::unique_ptr<State>> states;
    for (int kind = 0; kind < 9; ++kind) states.push_back(backend->new_state(8));
    for (int round = 0; round < 100; ++round) {
      std::vector<std::vector<float>> rows;
      std::vector<Question> questions;
      for (int kind = 0; kind < 9; ++kind) {
        rows.push_back(row_of(random, static_cast<size_t>(vocab), kind));
        backend->set_row(*states[static_cast<size_t>(kind)], rows.back());
        questions.push_back(random_question(random, vocab));
      }
      std::vector<RowPick> asks;
      for (size_t i = 0; i < states.size(); ++i) {
        questions[i].pick.changes = questions[i].changes;
        questions[i].pick.allowed = questions[i].allowed;
        asks.push_back({states[i].get(), 0, questions[i].pick});
      }
      std::vector<Candidates> answers(asks.size());
      backend->candidates(asks, answers);
      for (size_t i = 0; i < asks.size(); ++i) {
        SCOPED_TRACE("round " + std::to_string(round) + ", kind " + std::to_string(i));
        Candidates expected;
        backend::pick_candidates(rows[i], asks[i].pick, expected);
        expect_same(expected, answers[i]);
      }
    }
  }
}

TEST(Cancel, LeavesAStateThatResets) {
  const auto backend = backend::make_backend("cuda", load_model("tiny-mlx-4bit"), {});
  const Ids ids = random_ids(backend->config(), 300, 3);
  const auto state = backend->new_state(400);
  const auto other = backend->new_state(400);
  const Logits expected = prefill(*backend, *other, ids, Rows::last);
  backend->reset(*other);
  std::atomic<bool> stop = true;
  std::vector<Segment> both = {segment(*state, ids, Rows::last), segment(*other, ids, Rows::last)};
  both[0].cancel = Cancel(&stop);
  backend->run(both);
  EXPECT_TRUE(both[0].cancelled);
  EXPECT_FALSE(state->valid());
  EXPECT_FALSE(both[1].cancelled);
  EXPECT_EQ(rows_of(*backend, *other), expected);
  EXPECT_EQ(error_code([&] { run_one(*backend, *state, ids); }), ErrorCode::invalid_argument);
  backend->reset(*state);
  EXPECT_EQ(prefill(*backend, *state, ids, Rows::last), expected);
}

TEST(Memory, TooMuchIsAnErrorAndNothingElse) {
  const auto backend = backend::make_backend("cuda", load_model("tiny-mlx-4bit"), {});
  EXPECT_EQ(error_code([&] { (void)backend->new_state(int64_t{1} << 50); }), ErrorCode::out_of_memory);
  const Ids ids = random_ids(backend->config(), 9, 3);
  const auto state = backend->new_state(64);
  EXPECT_EQ(prefill(*backend, *state, ids).size(), ids.size() * static_cast<size_t>(backend->config().vocab_size));
}

TEST(Devices, AMissingCardIsUnsupported) {
  backend::BackendOptions options;
  options.cuda.device = 1000;
  EXPECT_EQ(error_code([&] { (void)backend::make_backend("cuda", load_model("tiny-mlx-4bit"), options); }),
            ErrorCode::unsupported);
}

}  // namespace
}  // namespace prosa::test
