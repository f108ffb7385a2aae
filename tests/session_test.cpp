// The session: the three ways to a token list, stored states and their budget, and that nothing wrong is ever reused.
#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "checkpoint/checkpoint.h"
#include "fake_backend.h"

namespace prosa::runtime {
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
    EXPECT_EQ(test::row_of(session), backend->expected(tokens));
    return report;
  }
  static std::vector<int32_t> copy(std::span<const int32_t> values) { return {values.begin(), values.end()}; }

  std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>(100);
  std::shared_ptr<ModelCore> core = test::core_of(backend, 10'000);
  Session session{core, 60};
};

TEST_F(SessionTest, ExtendsWhatItHolds) {
  EXPECT_EQ(sync(range(0, 10)).path, SyncPath::rebuilt);
  session.decode(10);
  session.decode(11);
  EXPECT_EQ(test::row_of(session), backend->expected(range(0, 12)));
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

TEST_F(SessionTest, TheSameListAgainCostsNothing) {
  sync(range(0, 10), {4});
  const SyncReport again = sync(range(0, 10));
  EXPECT_EQ(again.path, SyncPath::extended);
  EXPECT_EQ(again.computed, 0);
  const SyncReport exact = sync(range(0, 4));  // the stored state has no logits: not usable here
  EXPECT_EQ(exact.path, SyncPath::rebuilt);
}

TEST_F(SessionTest, MarkKeepsTheCurrentPosition) {
  sync(range(0, 10));
  session.decode(10);
  session.mark();
  session.mark();  // the same place twice is one state
  EXPECT_EQ(session.store().size(), 1U);
  session.decode(11);
  EXPECT_EQ(sync(range(0, 11) + range(30, 2)).reused, 11);
}

TEST_F(SessionTest, AReplyIsNeverReadFromItsBeginning) {
  const auto roomy = test::core_of(backend, 100'000);
  Session reply(roomy, 300);
  reply.keep_reply_marks();
  reply.sync({range(0, 10)});
  for (int32_t token = 10; token < 200; ++token) reply.decode(token % 100);
  EXPECT_EQ(roomy->store()->size(), static_cast<size_t>(Session::kReplyMarks));
  for (int64_t position = 199; position >= 192 - (Session::kReplyMarks - 1) * Session::kReplyStep; position -= 7) {
    const SyncReport report = reply.rewind(position);
    EXPECT_LE(report.computed, Session::kReplyStep) << "at " << position;  // at a mark all of them, for its logits
    std::vector<int32_t> tokens(static_cast<size_t>(position));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 100);
    EXPECT_EQ(copy(reply.tokens()), tokens);
    EXPECT_EQ(test::row_of(reply), backend->expected(tokens));
  }
  EXPECT_TRUE(roomy->store()->on_the_way(reply.tokens(), 9).empty()) << "passing marks are no place to come back to";

  Session poor(test::core_of(backend, 3'500), 300);  // a quarter of it holds none
  poor.keep_reply_marks();
  poor.sync({range(0, 10)});
  for (int32_t token = 10; token < 90; ++token) poor.decode(token);
  EXPECT_EQ(poor.store().size(), 0U);
}

TEST_F(SessionTest, IgnoresCutsThatAreBehindOrOutside) {
  sync(range(0, 10));
  const SyncReport report = sync(range(0, 20), {0, 5, 10, 20, 500});
  EXPECT_EQ(report.reused, 10);
  EXPECT_THAT(backend->prefills, ElementsAre(10, 10));
  EXPECT_EQ(session.store().size(), 1U);  // at 10, where it stood
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
  EXPECT_EQ(code_of([&] { session.sync({tokens, {}, Cancel(&cancel)}); }), ErrorCode::cancelled);
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
  EXPECT_EQ(session.memory().stored_states, 0);
  EXPECT_EQ(sync(range(0, 10)).path, SyncPath::rebuilt);
}

TEST_F(SessionTest, NoMemoryForACheckpointIsNoError) {
  backend->out_of_memory = true;
  EXPECT_EQ(sync(range(0, 10), {5}).computed, 10);
  EXPECT_EQ(session.store().size(), 0U);
}

TEST_F(SessionTest, AStepWithoutMemoryTakesThatOfTheCheckpoints) {
  sync(range(0, 10), {5});
  EXPECT_EQ(core->store()->size(), 1U);
  const auto full = [](int64_t) { throw Error(ErrorCode::out_of_memory, "no room for a step"); };
  backend->on_decode = [&](int64_t step) {
    if (core->store()->size() > 0) full(step);
  };
  session.decode(10);
  EXPECT_EQ(core->store()->size(), 0U);
  EXPECT_EQ(test::row_of(session), backend->expected(range(0, 11)));
  backend->on_decode = full;
  EXPECT_EQ(code_of([&] { session.decode(11); }), ErrorCode::out_of_memory) << "nothing left to give up";
  backend->on_decode = nullptr;
  EXPECT_EQ(sync(range(0, 12)).path, SyncPath::rebuilt);
}

TEST_F(SessionTest, StaysWithinTheBudget) {
  // 10,000 bytes hold nine snapshots of 1,000 bytes with their ids.
  std::vector<int32_t> system = range(0, 5);
  for (int32_t conversation = 0; conversation < 12; ++conversation) {
    const std::vector<int32_t> tokens = system + range(10 + conversation, 20);
    sync(tokens, {5, 10, 15, 20});
    EXPECT_LE(session.memory().stored_states, 10'000);
    EXPECT_GE(session.memory().stored_states, 1'000);
  }
  EXPECT_EQ(session.store().size(), 9U);
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
  EXPECT_EQ(session.store().size(), 5U);                                      // the first and the last four
  EXPECT_EQ(sync(range(0, 47) + range(90, 1)).reused, 45);
  EXPECT_EQ(sync(range(0, 29) + range(90, 1)).reused, 5);
}

TEST(Session, ASnapshotAboveTheBudgetIsNotKept) {
  const auto backend = std::make_shared<FakeBackend>(100, 5000);
  Session session(test::core_of(backend, 4000), 60);
  session.sync({range(0, 10), std::vector<int64_t>{5}});
  EXPECT_EQ(session.store().size(), 0U);
}

TEST(Session, RandomWalksAlwaysEndWhereTheyShould) {
  const auto backend = std::make_shared<FakeBackend>(4);
  Session session(test::core_of(backend, 6000), 40);
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
    ASSERT_EQ(test::row_of(session), backend->expected(tokens)) << "round " << round;
    while (tokens.size() < 40 && random() % 3 != 0) {
      tokens.push_back(static_cast<int32_t>(random() % 2));
      session.decode(tokens.back());
      ASSERT_EQ(test::row_of(session), backend->expected(tokens)) << "round " << round;
    }
  }
}

// ---- the store

/// 100 bytes of its own, and 1,000 for each block.
struct BlockSnapshot final : backend::Snapshot {
  BlockSnapshot(int64_t position, std::vector<int> ids) : Snapshot(position), blocks(std::move(ids)) {}
  [[nodiscard]] backend::Place place() const noexcept override { return backend::Place::host; }
  [[nodiscard]] int64_t byte_size() const noexcept override { return 100 + 1000 * static_cast<int64_t>(blocks.size()); }
  [[nodiscard]] std::vector<backend::SharedBlock> shared() const override {
    std::vector<backend::SharedBlock> list;
    for (const int id : blocks) list.push_back({reinterpret_cast<const void*>(static_cast<intptr_t>(id)), 1000});
    return list;
  }
  [[nodiscard]] std::vector<backend::SnapshotPart> parts() const override { return {}; }
  std::vector<int> blocks;
};

std::unique_ptr<BlockSnapshot> with_blocks(int64_t position, std::vector<int> ids) {
  return std::make_unique<BlockSnapshot>(position, std::move(ids));
}

TEST(StateStore, SharedBlocksCountOnce) {
  StateStore store(10'000);
  EXPECT_TRUE(store.add(range(0, 5), with_blocks(5, {1})));
  EXPECT_EQ(store.byte_size(), 100 + 20 + 1000);
  EXPECT_TRUE(store.add(range(0, 9), with_blocks(9, {1, 2})));
  EXPECT_EQ(store.byte_size(), 200 + 20 + 36 + 2000);
  EXPECT_FALSE(store.add(range(0, 9), with_blocks(9, {1, 3}))) << "one stands there";
  EXPECT_EQ(store.byte_size(), 200 + 20 + 36 + 2000);
  const std::vector<backend::SharedBlock> live = with_blocks(1, {2, 7})->shared();
  EXPECT_EQ(store.byte_size_without(live), 200 + 20 + 36 + 1000);
  EXPECT_FALSE(store.add(range(50, 3), with_blocks(3, {11, 12, 13, 14, 15, 16, 17, 18, 19, 20})));
  store.clear();
  EXPECT_EQ(store.byte_size(), 0);
}

TEST(StateStore, WhatIsGivenOutOutlivesItsPlace) {
  StateStore store(2'500);
  store.add(range(0, 5), with_blocks(5, {1}));
  const auto held = store.find(range(0, 8), 7);
  ASSERT_TRUE(held);
  store.find(range(40, 3), 3);                      // time passes
  store.add(range(40, 3), with_blocks(3, {2, 3}));  // the first must go
  EXPECT_EQ(store.size(), 1U);
  EXPECT_EQ(held->tokens, range(0, 5));
  EXPECT_EQ(held->snapshot->position(), 5);
}

TEST(StateStore, ASlotHoldsTheNewestAndAnythingAskedForStays) {
  StateStore store(100'000);
  store.add(range(0, 5), with_blocks(5, {}), {1, 0});
  store.add(range(0, 6), with_blocks(6, {}), {1, 1});
  store.add(range(0, 7), with_blocks(7, {}), {1, 0});
  store.add(range(0, 8), with_blocks(8, {}), {2, 0});
  EXPECT_FALSE(store.touch(range(0, 5), {1, 0}));
  EXPECT_FALSE(store.touch(range(0, 7), {2})) << "of another";
  EXPECT_TRUE(store.touch(range(0, 7), {1}));  // from now on it stays
  store.add(range(0, 9), with_blocks(9, {}), {1, 0});
  EXPECT_FALSE(store.touch(range(0, 7), {1, 0})) << "what everybody may have was fed otherwise";
  store.drop_slots(1);
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(store.find(range(0, 20), 20)->tokens.size(), 7U) << "another's slot";
  EXPECT_EQ(store.find(range(0, 20), 20, {2, 2})->tokens.size(), 8U);
  EXPECT_EQ(store.find(range(0, 20), 7)->tokens.size(), 7U);
  EXPECT_FALSE(store.find(range(0, 20), 6));
}

TEST(StateStore, WhatWasFedInOtherPiecesIsForTheFamilyAlone) {
  StateStore store(100'000);
  store.add(range(0, 4), with_blocks(4, {}), {1});
  store.add(range(0, 6), with_blocks(6, {}), {1, Slot::kKept, 1});
  EXPECT_EQ(store.find(range(0, 9), 9, {2, 2})->tokens.size(), 4U);
  const StateStore::Found own = store.find(range(0, 9), 9, {1, 1});
  EXPECT_EQ(own->tokens.size(), 6U);
  EXPECT_FALSE(own.shared);
  EXPECT_EQ(store.find(range(0, 9), 9, {3, 1})->tokens.size(), 6U) << "a fork";
  EXPECT_TRUE(store.add(range(0, 7), with_blocks(7, {}), {2})) << "for everybody";
  EXPECT_TRUE(store.find(range(0, 9), 9, {4, 4}).shared);
  EXPECT_EQ(store.find(range(0, 9), 9, {1, 1})->tokens.size(), 6U) << "goes on from what is its own";
  EXPECT_FALSE(store.find(range(0, 9), 5, {1, 1, true})) << "nothing of its own is so short";
  EXPECT_TRUE(store.add(range(0, 6), with_blocks(6, {}), {2})) << "alike, but for others";
  EXPECT_EQ(store.size(), 4U);
  EXPECT_EQ(store.on_the_way(range(0, 9), 9, {1, 1}).size(), 3U) << "at 4, 6 and 7: one a position";
  store.add(range(0, 5), with_blocks(5, {}), {5, Slot::kKept, 5});
  EXPECT_EQ(store.on_the_way(range(0, 9), 9, {1, 1}).size(), 3U) << "not another family's";
}

TEST(StateStore, DomainsNeverMeet) {
  StateStore store(100'000);
  const auto in = [](uint64_t domain) { return Finder{9, 9, false, domain}; };
  store.add(range(0, 4), with_blocks(4, {}), {1, Slot::kKept, 0, 7});
  store.add(range(0, 6), with_blocks(6, {}), {1, Slot::kKept, 0, 8});
  EXPECT_EQ(store.find(range(0, 9), 9, in(7))->tokens.size(), 4U);
  EXPECT_EQ(store.find(range(0, 9), 9, in(8))->tokens.size(), 6U);
  EXPECT_FALSE(store.find(range(0, 9), 9)) << "nor does who is of none";
  EXPECT_FALSE(store.contains(range(0, 4)));
  EXPECT_TRUE(store.add(range(0, 4), with_blocks(4, {}), {1, Slot::kKept, 0, 8})) << "alike, but for others";
  EXPECT_EQ(store.on_the_way(range(0, 9), 9, in(8)).size(), 2U);
  EXPECT_EQ(store.on_the_way(range(0, 9), 9, in(7)).size(), 1U);
  EXPECT_FALSE(store.touch(range(0, 6), {1, Slot::kKept, 0, 7}));
}

// Random lists with much in common: what is found is the longest prefix there is, by an obvious search.
TEST(StateStore, FindsTheLongestPrefix) {
  StateStore store(1 << 20);
  std::mt19937 random(9);
  std::vector<std::vector<int32_t>> kept;
  const auto list = [&] {
    std::vector<int32_t> tokens(1 + random() % 9);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 2);
    return tokens;
  };
  for (int i = 0; i < 2000; ++i) {
    const std::vector<int32_t> tokens = list();
    const auto longest = static_cast<int64_t>(random() % 10);
    size_t best = 0;
    for (const auto& other : kept) {
      const bool fits = static_cast<int64_t>(other.size()) <= longest && other.size() <= tokens.size();
      if (fits && std::equal(other.begin(), other.end(), tokens.begin())) best = std::max(best, other.size());
    }
    const auto found = store.find(tokens, longest);
    ASSERT_EQ(found ? found->tokens.size() : 0, best);
    if (random() % 3 != 0 || !store.add(tokens, with_blocks(static_cast<int64_t>(tokens.size()), {}))) continue;
    kept.push_back(tokens);
  }
}

/// On a real model: a restored conversation gives the very bits of a cold one with the same cuts.
TEST(SessionOnTheReferenceBackend, AWarmTurnHasTheBitsOfAColdOne) {
  const auto weights = checkpoint::load_weights(PROSA_TEST_DATA "/golden/tiny-hf");
  const std::shared_ptr<backend::Backend> backend =
      backend::make_reference_backend(weights, {.reference = {.threads = 1}});
  const std::vector<int32_t> first = range(20, 24);
  const std::vector<int32_t> second = range(20, 18) + range(300, 30);

  Session warm(test::core_of(backend, 1 << 28), 100);
  warm.sync({first, std::vector<int64_t>{7, 18}});
  for (int32_t token = 400; token < 410; ++token) warm.decode(token);
  const SyncReport report = warm.sync({second, std::vector<int64_t>{7, 18, 40}});
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.reused, 18);

  Session cold(test::core_of(backend, 1 << 28), 100);
  EXPECT_EQ(cold.sync({second, std::vector<int64_t>{7, 18, 40}}).reused, 0);
  EXPECT_EQ(test::row_of(warm), test::row_of(cold));
  warm.decode(5);
  cold.decode(5);
  EXPECT_EQ(test::row_of(warm), test::row_of(cold));
  EXPECT_GT(warm.memory().stored_states, 0);
  EXPECT_GT(warm.memory().state, 0);
  EXPECT_GT(warm.memory().kv, 0);
}

}  // namespace
}  // namespace prosa::runtime
