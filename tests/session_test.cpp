// The session: the three ways to a token list, checkpoints and their budget, and that nothing wrong is ever reused.
#include "session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "checkpoint/checkpoint.h"
#include "fake_backend.h"

namespace prosa::session {
namespace {

using test::FakeBackend;
using testing::ElementsAre;

std::vector<int32_t> range(int32_t first, int32_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::vector<int32_t> operator+(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<float> copy(std::span<const float> values) { return {values.begin(), values.end()}; }

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

class SessionTest : public testing::Test {
 protected:
  SyncReport sync(const std::vector<int32_t>& tokens, const std::vector<int64_t>& cuts = {}) {
    const SyncReport report = session.sync({tokens, cuts});
    EXPECT_EQ(report.reused + report.computed, static_cast<int64_t>(tokens.size()));
    EXPECT_EQ(copy(session.tokens()), tokens);
    EXPECT_EQ(copy(session.logits()), backend->expected(tokens));
    return report;
  }
  static std::vector<int32_t> copy(std::span<const int32_t> values) { return {values.begin(), values.end()}; }
  static std::vector<float> copy(std::span<const float> values) { return {values.begin(), values.end()}; }

  std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>(100);
  Session session{backend, 60, 10'000};
};

TEST_F(SessionTest, ExtendsWhatItHolds) {
  EXPECT_EQ(sync(range(0, 10)).path, SyncPath::rebuilt);
  session.decode(10);
  session.decode(11);
  EXPECT_EQ(copy(session.logits()), backend->expected(range(0, 12)));
  const SyncReport report = sync(range(0, 20));
  EXPECT_EQ(report.path, SyncPath::extended);
  EXPECT_EQ(report.reused, 12);
  EXPECT_THAT(backend->prefills, ElementsAre(10, 8));
}

TEST_F(SessionTest, RestoresTheLongestCheckpoint) {
  EXPECT_EQ(sync(range(0, 20), {5, 15}).computed, 20);
  EXPECT_THAT(backend->prefills, ElementsAre(5, 10, 5));
  for (int32_t token = 50; token < 60; ++token) session.decode(token);  // a reply that history will not hold

  const SyncReport next = sync(range(0, 15) + range(70, 5));
  EXPECT_EQ(next.path, SyncPath::restored);
  EXPECT_EQ(next.reused, 15);
  const SyncReport other = sync(range(0, 9) + range(80, 5));
  EXPECT_EQ(other.path, SyncPath::restored);
  EXPECT_EQ(other.reused, 5);
  const SyncReport nothing = sync(range(1, 9));
  EXPECT_EQ(nothing.path, SyncPath::rebuilt);
  EXPECT_EQ(nothing.reused, 0);
}

TEST_F(SessionTest, PrefersALongerCheckpointToTheTimeline) {
  sync(range(0, 20), {15});
  sync(range(0, 5));  // back to a shorter list
  EXPECT_EQ(session.position(), 5);
  const SyncReport report = sync(range(0, 18));
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.reused, 15);
}

TEST_F(SessionTest, AlwaysComputesTheLastToken) {
  sync(range(0, 10), {4});
  const SyncReport again = sync(range(0, 10));
  EXPECT_EQ(again.path, SyncPath::restored);
  EXPECT_EQ(again.reused, 4);
  const SyncReport exact = sync(range(0, 4));  // the checkpoint has no logits: not usable here
  EXPECT_EQ(exact.path, SyncPath::rebuilt);
}

TEST_F(SessionTest, MarkKeepsTheCurrentPosition) {
  sync(range(0, 10));
  session.decode(10);
  session.mark();
  session.mark();  // the same place twice is one checkpoint
  EXPECT_EQ(session.checkpoint_count(), 1U);
  session.decode(11);
  EXPECT_EQ(sync(range(0, 11) + range(30, 2)).reused, 11);
}

TEST_F(SessionTest, IgnoresCutsThatAreBehindOrOutside) {
  sync(range(0, 10));
  const SyncReport report = sync(range(0, 20), {0, 5, 10, 20, 500});
  EXPECT_EQ(report.reused, 10);
  EXPECT_THAT(backend->prefills, ElementsAre(10, 10));
  EXPECT_EQ(session.checkpoint_count(), 1U);  // at 10, where it stood
}

TEST_F(SessionTest, ACancelledPrefillIsNeverReused) {
  sync(range(0, 10), {5});
  backend->fail_after = 12;
  const std::vector<int32_t> longer = range(0, 40);
  const std::vector<int64_t> cuts = {5, 20};
  EXPECT_EQ(code_of([&] { session.sync({longer, cuts}); }), ErrorCode::cancelled);
  const SyncReport report = sync(longer);
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.reused, 20);  // reached and kept before the cancel

  backend->fail_after = 1;
  EXPECT_EQ(code_of([&] { session.sync({range(90, 5)}); }), ErrorCode::cancelled);
  EXPECT_EQ(sync(range(90, 5)).path, SyncPath::rebuilt);
}

TEST_F(SessionTest, TheCancelFlagReachesTheBackend) {
  const std::atomic<bool> cancel = true;
  const std::vector<int32_t> tokens = range(0, 5);
  EXPECT_EQ(code_of([&] { session.sync({tokens, {}, &cancel}); }), ErrorCode::cancelled);
  EXPECT_EQ(sync(tokens).path, SyncPath::rebuilt);
}

TEST_F(SessionTest, RefusesBeforeTouchingAnything) {
  sync(range(0, 10));
  EXPECT_EQ(code_of([&] { session.sync({range(0, 61)}); }), ErrorCode::context_exceeded);
  EXPECT_EQ(code_of([&] { session.sync({std::vector<int32_t>{}}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.sync({std::vector<int32_t>{0, 100}}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.decode(-1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(sync(range(0, 11)).reused, 10);
}

TEST_F(SessionTest, AFullContextRefusesToDecode) {
  sync(range(0, 60));
  EXPECT_EQ(code_of([&] { session.decode(1); }), ErrorCode::context_exceeded);
  EXPECT_EQ(session.position(), 60);
}

TEST_F(SessionTest, ResetForgetsEverything) {
  sync(range(0, 10), {5});
  session.reset();
  EXPECT_EQ(session.position(), 0);
  EXPECT_EQ(session.memory().checkpoints, 0);
  EXPECT_EQ(sync(range(0, 10)).path, SyncPath::rebuilt);
}

TEST_F(SessionTest, NoMemoryForACheckpointIsNoError) {
  backend->out_of_memory = true;
  EXPECT_EQ(sync(range(0, 10), {5}).computed, 10);
  EXPECT_EQ(session.checkpoint_count(), 0U);
}

TEST_F(SessionTest, StaysWithinTheBudget) {
  // 10,000 bytes hold nine snapshots of 1,000 bytes with their ids.
  std::vector<int32_t> system = range(0, 5);
  for (int32_t conversation = 0; conversation < 12; ++conversation) {
    const std::vector<int32_t> tokens = system + range(10 + conversation, 20);
    sync(tokens, {5, 10, 15, 20});
    EXPECT_LE(session.memory().checkpoints, 10'000);
    EXPECT_GE(session.memory().checkpoints, 1'000);
  }
  EXPECT_EQ(session.checkpoint_count(), 9U);
  EXPECT_EQ(sync(system + range(21, 15) + range(90, 3)).reused, 20);  // the latest conversation is whole
  EXPECT_EQ(sync(system + range(90, 3)).reused, 5);                   // and the shared beginning is kept
  EXPECT_EQ(sync(system + range(10, 20)).reused, 5);                  // the oldest is gone
}

TEST_F(SessionTest, ALongConversationKeepsItsBeginningAndItsEnd) {
  for (int32_t end = 3; end < 60; end += 3) {
    sync(range(0, end));
    session.mark();
  }
  sync(range(0, 60));
  EXPECT_EQ(sync(range(0, 57) + range(90, 1)).reused, 57);
  EXPECT_EQ(sync(range(0, 5) + range(90, 1)).reused, 3);
}

TEST_F(SessionTest, AColdLongHistoryKeepsAFewCheckpoints) {
  const std::vector<int64_t> cuts = {5, 10, 15, 20, 25, 30, 35, 40, 45};
  sync(range(0, 50), cuts);
  EXPECT_THAT(backend->prefills, ElementsAre(5, 5, 5, 5, 5, 5, 5, 5, 5, 5));  // paused everywhere
  EXPECT_EQ(session.checkpoint_count(), 5U);                                  // the first and the last four
  EXPECT_EQ(sync(range(0, 47) + range(90, 1)).reused, 45);
  EXPECT_EQ(sync(range(0, 29) + range(90, 1)).reused, 5);
}

TEST(Session, ASnapshotAboveTheBudgetIsNotKept) {
  const auto backend = std::make_shared<FakeBackend>(100, 5000);
  Session session(backend, 60, 4000);
  session.sync({range(0, 10), std::vector<int64_t>{5}});
  EXPECT_EQ(session.checkpoint_count(), 0U);
}

TEST(Session, RandomWalksAlwaysEndWhereTheyShould) {
  const auto backend = std::make_shared<FakeBackend>(4);
  Session session(backend, 40, 6000);
  std::mt19937 random(7);
  std::vector<int32_t> tokens;
  for (int round = 0; round < 3000; ++round) {
    tokens.resize(random() % (tokens.size() + 1));
    const size_t size = std::min<size_t>(40, tokens.size() + 1 + random() % 12);
    while (tokens.size() < size) tokens.push_back(static_cast<int32_t>(random() % 2));
    std::vector<int64_t> cuts = {static_cast<int64_t>(random() % 40), static_cast<int64_t>(random() % 40)};
    std::sort(cuts.begin(), cuts.end());
    if (random() % 5 == 0) backend->fail_after = static_cast<int64_t>(random() % 20);
    try {
      session.sync({tokens, cuts});
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::cancelled);
      continue;
    }
    backend->fail_after = -1;
    ASSERT_EQ(copy(session.logits()), backend->expected(tokens)) << "round " << round;
    while (tokens.size() < 40 && random() % 3 != 0) {
      tokens.push_back(static_cast<int32_t>(random() % 2));
      session.decode(tokens.back());
      ASSERT_EQ(copy(session.logits()), backend->expected(tokens)) << "round " << round;
    }
  }
}

/// On a real model: a restored conversation gives the very bits of a cold one with the same cuts.
TEST(SessionOnTheReferenceBackend, AWarmTurnHasTheBitsOfAColdOne) {
  const auto weights = checkpoint::load_weights(PROSA_TEST_DATA "/golden/tiny-hf");
  const std::shared_ptr<backend::Backend> backend = backend::make_reference_backend(weights, {.threads = 1});
  const std::vector<int32_t> first = range(20, 24);
  const std::vector<int32_t> second = range(20, 18) + range(300, 30);

  Session warm(backend, 100);
  warm.sync({first, std::vector<int64_t>{7, 18}});
  for (int32_t token = 400; token < 410; ++token) warm.decode(token);
  const SyncReport report = warm.sync({second, std::vector<int64_t>{7, 18, 40}});
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.reused, 18);

  Session cold(backend, 100);
  EXPECT_EQ(cold.sync({second, std::vector<int64_t>{7, 18, 40}}).reused, 0);
  EXPECT_EQ(copy(warm.logits()), copy(cold.logits()));
  warm.decode(5);
  cold.decode(5);
  EXPECT_EQ(copy(warm.logits()), copy(cold.logits()));
  EXPECT_GT(warm.memory().checkpoints, 0);
  EXPECT_GT(warm.memory().state, 0);
  EXPECT_GT(warm.memory().kv, 0);
}

}  // namespace
}  // namespace prosa::session
