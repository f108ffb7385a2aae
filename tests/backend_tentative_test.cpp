// Tentative segments, for every backend and instruction set of this machine: their rows are those of single tokens,
// commit(n) leaves the bits of n single tokens, discard() those of none.
//
// Invariant: expectations are exact; a state is compared as the bytes of its snapshot.
#include <set>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

/// What feeding tokens one by one gives: the row of each, and the state before the first and after each.
struct OneByOne {
  Logits rows;
  std::vector<StateBytes> states;  // [tokens + 1]
  std::vector<Logits> then;        // [tokens + 1]: the row that the token `next` gives after so many
};

constexpr int32_t kNext = 3;

/// From where `snapshot` stands.
OneByOne feed_one_by_one(Backend& backend, const Snapshot& snapshot, const Ids& ids) {
  OneByOne all;
  const auto state = backend.new_state(snapshot.position() + 40), fork = backend.new_state(snapshot.position() + 40);
  backend.restore(*state, snapshot);
  for (size_t i = 0; i <= ids.size(); ++i) {
    if (i > 0) append(all.rows, decode(backend, *state, Ids{ids[i - 1]}));
    all.states.push_back(bytes_of(backend, *state));
    backend.restore(*fork, *backend.snapshot(*state));
    all.then.push_back(decode(backend, *fork, Ids{kNext}));
  }
  return all;
}

/// None, some and all of so many tokens.
std::set<size_t> some_counts(size_t most) {
  std::set<size_t> counts = {0, 1, 3, most / 2, most - 1, most};
  std::erase_if(counts, [&](size_t n) { return n > most; });
  return counts;
}

void expect_pending(Backend& backend, const State& state, int64_t position, const Ids& ids, const OneByOne& expected) {
  EXPECT_EQ(state.position(), position);
  EXPECT_EQ(state.pending(), static_cast<int64_t>(ids.size()));
  EXPECT_EQ(state.rows(), static_cast<int64_t>(ids.size()));
  EXPECT_TRUE(state.valid());
  EXPECT_EQ(rows_of(backend, state), first_rows(backend, expected.rows, ids.size()));
}

void expect_committed(Backend& backend, State& state, int64_t position, size_t n, const OneByOne& expected) {
  SCOPED_TRACE("commit of " + std::to_string(n));
  const Logits rows = rows_of(backend, state);
  backend.commit(state, static_cast<int64_t>(n));
  EXPECT_EQ(state.position(), position + static_cast<int64_t>(n));
  EXPECT_EQ(state.pending(), 0);
  EXPECT_EQ(rows_of(backend, state), rows) << "the rows stay";
  EXPECT_TRUE(bytes_of(backend, state) == expected.states[n]);
  EXPECT_EQ(decode(backend, state, Ids{kNext}), expected.then[n]) << "it goes on alike";
}

// KV blocks end at 128 positions and attention's spans at 512, both of which some segments cross.
TEST_P(BackendTest, CommitHasTheBitsOfSingleTokens) {
  for (const std::string& model : few_models()) {
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), backend::kMaxTentative, 51);
    const bool deep = model == "tiny-mlx-4bit" && !is_reference();
    for (const int64_t depth : deep ? std::vector<int64_t>{0, 3, 120, 500} : std::vector<int64_t>{0, 120}) {
      const auto start = backend->new_state(600);
      if (depth > 0)
        (void)prefill(*backend, *start, random_ids(backend->config(), static_cast<size_t>(depth), 52), Rows::none);
      const auto snapshot = backend->snapshot(*start);
      const OneByOne expected = feed_one_by_one(*backend, *snapshot, ids);
      for (const size_t count : {size_t{1}, size_t{4}, size_t{9}, ids.size()}) {
        const Ids fed = first(ids, count);
        for (const size_t n : some_counts(count)) {
          SCOPED_TRACE(model + " at " + std::to_string(depth) + ", " + std::to_string(count) + " tokens");
          const auto state = backend->new_state(600);
          backend->restore(*state, *snapshot);
          run_one(*backend, *state, fed, Rows::all, true);
          expect_pending(*backend, *state, depth, fed, expected);
          expect_committed(*backend, *state, depth, n, expected);
        }
      }
      EXPECT_TRUE(bytes_of(*snapshot) == expected.states[0]) << "the snapshot that all of them shared";
    }
  }
}

// The same where nothing is shared: the state's own memory is written in place.
TEST_P(BackendTest, CommitOnAStateThatSharesNothing) {
  // The second: three value heads for a key head, a shorter convolution.
  for (const std::string& model : {std::string("tiny-mlx-4bit"), std::string("odd-4bit-g32")}) {
    const auto backend = make(model);
    const Ids prompt = random_ids(backend->config(), 125, 53), ids = random_ids(backend->config(), 7, 54);
    const auto state = backend->new_state(300);
    const auto begin = [&] {
      backend->reset(*state);
      (void)prefill(*backend, *state, prompt, Rows::none);
    };
    begin();
    const OneByOne expected = feed_one_by_one(*backend, *backend->snapshot(*state), ids);
    for (size_t n = 0; n <= ids.size(); ++n) {
      SCOPED_TRACE(model);
      begin();
      run_one(*backend, *state, ids, Rows::all, true);
      expect_pending(*backend, *state, 125, ids, expected);
      expect_committed(*backend, *state, 125, n, expected);
    }
  }
}

// One segment after another on the same state, as speculation does it, with snapshots taken on the way.
TEST_P(BackendTest, SegmentAfterSegmentHasTheBitsOfSingleTokens) {
  std::mt19937 random(55);
  for (const std::string& model : few_models()) {
    const auto backend = make(model);
    const auto state = backend->new_state(300), single = backend->new_state(300);
    const Ids prompt = random_ids(backend->config(), 100, 56);
    (void)prefill(*backend, *state, prompt, Rows::none);
    (void)prefill(*backend, *single, prompt, Rows::none);
    std::vector<std::pair<std::unique_ptr<Snapshot>, StateBytes>> kept;
    for (int round = 0; round < 14; ++round) {
      SCOPED_TRACE(model + ", round " + std::to_string(round));
      const Ids ids = random_ids(backend->config(), 1 + random() % 8, static_cast<unsigned>(random()));
      run_one(*backend, *state, ids, Rows::last, true);
      EXPECT_EQ(state->rows(), 1);
      const size_t n = random() % (ids.size() + 1);
      backend->commit(*state, static_cast<int64_t>(n));
      if (n > 0) (void)decode(*backend, *single, first(ids, n));
      ASSERT_TRUE(bytes_of(*backend, *state) == bytes_of(*backend, *single));
      if (random() % 3 == 0) {
        kept.emplace_back(backend->snapshot(*state), StateBytes{});
        kept.back().second = bytes_of(*kept.back().first);
      }
      if (random() % 4 == 0) {
        const Ids more = random_ids(backend->config(), 1 + random() % 5, static_cast<unsigned>(random()));
        ASSERT_EQ(prefill(*backend, *state, more), prefill(*backend, *single, more));
      }
    }
    for (const auto& [snapshot, bytes] : kept) EXPECT_TRUE(bytes_of(*snapshot) == bytes);
  }
}

TEST_P(BackendTest, DiscardLeavesTheStateUntouched) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 30, 57);
  for (const size_t depth : {0, 124}) {
    for (const bool shared : {false, true}) {
      SCOPED_TRACE(std::to_string(depth) + (shared ? ", shared" : ""));
      const auto state = backend->new_state(200), witness = backend->new_state(200);
      for (State* each : {state.get(), witness.get()}) {
        if (depth > 0) (void)prefill(*backend, *each, random_ids(backend->config(), depth, 58), Rows::none);
      }
      const auto snapshot = shared ? backend->snapshot(*state) : nullptr;
      const StateBytes before = bytes_of(*backend, *witness);
      for (int again = 0; again < 2; ++again) {
        run_one(*backend, *state, ids, Rows::none, true);
        EXPECT_EQ(state->pending(), 30);
        EXPECT_EQ(state->rows(), 0);
        backend->discard(*state);
        EXPECT_EQ(state->pending(), 0);
        EXPECT_EQ(state->position(), static_cast<int64_t>(depth));
        EXPECT_TRUE(bytes_of(*backend, *state) == before);
      }
      if (shared) {
        EXPECT_TRUE(bytes_of(*snapshot) == before);
      }
      EXPECT_EQ(prefill(*backend, *state, ids), prefill(*backend, *witness, ids));
    }
  }
}

TEST_P(BackendTest, ResetAndRestoreEndTheWaiting) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 30, 59);
  const auto state = backend->new_state(200), witness = backend->new_state(200);
  const Logits expected = prefill(*backend, *witness, ids);
  const auto snapshot = backend->snapshot(*witness);
  const Logits after = decode(*backend, *witness, first(ids, 2));
  for (const bool restored : {false, true}) {
    run_one(*backend, *state, first(ids, 9), Rows::all, true);
    ASSERT_EQ(state->pending(), 9);
    if (restored)
      backend->restore(*state, *snapshot);
    else
      backend->reset(*state);
    EXPECT_EQ(state->pending(), 0);
    EXPECT_EQ(state->rows(), 0);
    EXPECT_TRUE(state->valid());
    if (restored)
      EXPECT_EQ(decode(*backend, *state, first(ids, 2)), after);
    else
      EXPECT_EQ(prefill(*backend, *state, ids), expected);
    backend->reset(*state);
  }
}

TEST_P(BackendTest, PendingTokensAreErrorsWhereTheyDoNotBelong) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 40, 60);
  const auto state = backend->new_state(200), other = backend->new_state(200);
  (void)prefill(*backend, *state, first(ids, 5));
  EXPECT_EQ(error_code([&] { backend->commit(*state, 1); }), ErrorCode::invalid_argument) << "nothing is pending";
  backend->commit(*state, 0);
  EXPECT_EQ(state->rows(), 5);

  run_one(*backend, *state, first(ids, 6), Rows::all, true);
  const Standing before = standing(*backend, *state);
  for (const bool tentative : {false, true}) {
    std::vector<Segment> both = {segment(*other, ids, Rows::last), segment(*state, ids, Rows::last, tentative)};
    EXPECT_EQ(error_code([&] { backend->run(both); }), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(error_code([&] { (void)backend->snapshot(*state); }), ErrorCode::invalid_argument);
  for (const int64_t n : {-1, 7}) {
    EXPECT_EQ(error_code([&] { backend->commit(*state, n); }), ErrorCode::invalid_argument) << n;
  }
  EXPECT_EQ(standing(*backend, *state), before);
  EXPECT_EQ(other->position(), 0);
  EXPECT_EQ(other->rows(), 0);

  backend->commit(*state, 2);
  const Standing committed = standing(*backend, *state);
  const Ids many = random_ids(backend->config(), backend::kMaxTentative + 1, 61);
  std::vector<Segment> one = {segment(*state, many, Rows::none, true)};
  EXPECT_EQ(error_code([&] { backend->run(one); }), ErrorCode::invalid_argument) << "too many";
  EXPECT_EQ(standing(*backend, *state), committed);
}

}  // namespace
}  // namespace prosa::test
