// Bits, for every backend and instruction set of this machine: neither threads, nor the size of a pass, nor where a
// prompt is sliced, nor which rows are wanted, nor what else stands in a call changes one of them.
//
// Tentative segments, snapshots and cancelled segments have their own files. Invariant: expectations are exact.
#include <array>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

/// All of a call's results for one state: its rows and what it has become.
struct Result {
  Logits logits;
  StateBytes bytes;
  friend bool operator==(const Result&, const Result&) = default;
};

Result result_of(Backend& backend, const State& state) { return {rows_of(backend, state), bytes_of(backend, state)}; }

TEST_P(BackendTest, ThreadsChangeNoBit) {
  for (const std::string& model : is_reference() ? few_models() : all_models()) {
    SCOPED_TRACE(model);
    Logits expected;
    for (const int threads : {1, 2, 3}) {
      const auto backend = make(model, threads);
      EXPECT_EQ(backend->description().threads, host_threads(threads));
      const Ids ids = random_ids(backend->config(), 70, 23);
      const auto state = backend->new_state(100);
      Logits logits = prefill(*backend, *state, ids);
      append(logits, decode(*backend, *state, first(ids, 6)));
      if (threads == 1) expected = logits;
      EXPECT_EQ(logits, expected) << threads << " threads";
    }
  }
}

// Behind some hundred positions attention goes by spans, which are other workers' where those outnumber the KV heads.
TEST_P(BackendTest, ThreadsChangeNoBitOfLongContexts) {
  if (is_reference()) GTEST_SKIP() << "one way whatever the length";
  Logits expected;
  for (const int threads : {1, 2, 7}) {
    const auto backend = make("tiny-mlx-4bit", threads);
    const Ids ids = random_ids(backend->config(), 560, 23);
    const auto state = backend->new_state(600);
    Logits logits = prefill(*backend, *state, first(ids, 530), Rows::last);
    append(logits, prefill(*backend, *state, part(ids, 530, 30)));
    append(logits, decode(*backend, *state, first(ids, 3)));
    if (threads == 1) expected = logits;
    EXPECT_EQ(logits, expected) << threads << " threads";
  }
}

TEST_P(BackendTest, SameCallsSameBits) {
  const auto backend = make("tiny-mlx-mixed");
  const Ids ids = random_ids(backend->config(), 150, 29);
  const auto used = backend->new_state(200);
  const Logits expected = prefill(*backend, *used, ids);
  (void)decode(*backend, *used, first(ids, 20));
  backend->reset(*used);
  EXPECT_EQ(used->position(), 0);
  EXPECT_EQ(used->rows(), 0);
  EXPECT_EQ(prefill(*backend, *used, ids), expected) << "a reset state is as good as new";
  const auto fresh = backend->new_state(150);
  EXPECT_EQ(prefill(*backend, *fresh, ids), expected) << "capacity changes nothing";
}

TEST_P(BackendTest, WantedRowsAreChosenNotChanged) {
  for (const std::string& model : few_models()) {
    for (const size_t n : {1, 2, 5, 80}) {
      SCOPED_TRACE(model + ", " + std::to_string(n) + " tokens");
      const auto backend = make(model);
      const Ids ids = random_ids(backend->config(), n, 19);
      const auto all = backend->new_state(100), last = backend->new_state(100), none = backend->new_state(100);
      const Logits rows = prefill(*backend, *all, ids, Rows::all);
      EXPECT_EQ(prefill(*backend, *last, ids, Rows::last), last_row(*backend, rows));
      EXPECT_TRUE(prefill(*backend, *none, ids, Rows::none).empty());
      const StateBytes expected = bytes_of(*backend, *all);
      EXPECT_TRUE(bytes_of(*backend, *last) == expected);
      EXPECT_TRUE(bytes_of(*backend, *none) == expected);
    }
  }
}

TEST_P(BackendTest, PassSizesChangeNoBit) {
  for (const std::string& model : {std::string("tiny-mlx-4bit"), std::string("tiny-hf")}) {
    Result expected;
    for (const int64_t rows : {256, 1, 32, 64, 100, 128}) {
      SCOPED_TRACE(model + ", " + std::to_string(rows) + " rows");
      const auto backend = make(model, 2, rows);
      const Ids ids = random_ids(backend->config(), 203, 17);
      const auto state = backend->new_state(203);
      (void)prefill(*backend, *state, first(ids, 3), Rows::none);
      (void)prefill(*backend, *state, part(ids, 3, 200));
      const Result result = result_of(*backend, *state);
      if (rows == 256) expected = result;
      EXPECT_TRUE(result == expected);
    }
  }
}

// A prompt begins anywhere, and others stand in the calls that feed its slices.
TEST_P(BackendTest, SlicesChangeNoBit) {
  std::mt19937 random(13);
  for (const std::string& model : few_models()) {
    const auto backend = make(model, 2, 64);
    const auto unit = static_cast<size_t>(backend->slice_unit());
    const Ids ids = random_ids(backend->config(), 180, 18), before = first(ids, 5);
    const auto whole = backend->new_state(200);
    (void)prefill(*backend, *whole, before, Rows::none);
    const Logits expected = prefill(*backend, *whole, ids);
    const StateBytes bytes = bytes_of(*backend, *whole);
    const auto decoding = backend->new_state(64), prompted = backend->new_state(300);
    for (int trial = 0; trial < 4; ++trial) {
      const auto state = backend->new_state(200);
      (void)prefill(*backend, *state, before, Rows::none);
      Logits rows;
      std::string cuts;
      for (size_t at = 0; at < ids.size();) {
        const size_t n = std::min(unit * (1 + random() % std::max<size_t>(96 / unit, 2)), ids.size() - at);
        cuts += " " + std::to_string(n);
        std::vector<Segment> segments = {segment(*state, std::span(ids).subspan(at, n))};
        if (trial % 2 == 1) segments.push_back(segment(*decoding, std::span(ids).subspan(at, 1)));
        if (trial % 4 == 3) segments.insert(segments.begin(), segment(*prompted, before, Rows::last));
        backend->run(segments);
        append(rows, rows_of(*backend, *state));
        at += n;
      }
      SCOPED_TRACE(model + ", slices of" + cuts);
      EXPECT_EQ(rows, expected);
      EXPECT_TRUE(bytes_of(*backend, *state) == bytes);
    }
  }
}

TEST_P(BackendTest, NeighboursChangeNoBitOfDecodes) {
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 200, 31);
    for (const size_t batch : {1, 2, 3, 5, 9}) {
      SCOPED_TRACE("batch of " + std::to_string(batch));
      std::vector<std::unique_ptr<State>> together, alone;
      for (size_t i = 0; i < batch; ++i) {  // states of different age and capacity
        together.push_back(backend->new_state(static_cast<int64_t>(80 + i)));
        alone.push_back(backend->new_state(80));
        (void)prefill(*backend, *together.back(), first(ids, 1 + 7 * i), Rows::none);
        (void)prefill(*backend, *alone.back(), first(ids, 1 + 7 * i), Rows::none);
      }
      for (size_t step = 0; step < 4; ++step) {
        const Ids tokens = part(ids, 100 + step * batch, batch);
        std::vector<Segment> segments;
        for (size_t i = 0; i < batch; ++i) segments.push_back(segment(*together[i], std::span(tokens).subspan(i, 1)));
        backend->run(segments);
        for (size_t i = 0; i < batch; ++i) {
          EXPECT_EQ(rows_of(*backend, *together[i]), decode(*backend, *alone[i], Ids{tokens[i]}))
              << "row " << i << ", step " << step;
          EXPECT_EQ(together[i]->position(), alone[i]->position());
        }
      }
    }
  }
}

/// A state that runs with others, and one that is fed the same alone, by a backend with other passes and threads.
struct Twins {
  std::unique_ptr<State> together, alone;
  Ids tokens;  // of the coming call
  Rows rows = Rows::last;
  bool tentative = false;

  void draw(const ModelConfig& config, std::mt19937& random) {
    const auto kind = random() % 3;
    const size_t count = kind == 0 ? 1 : kind == 1 ? 2 + random() % 70 : 1 + random() % 9;
    tokens = random_ids(config, count, static_cast<unsigned>(random()));
    rows = std::array{Rows::none, Rows::last, Rows::all}[random() % 3];
    tentative = kind == 2;
  }
};

// Every call mixes prompts, single tokens and tentative segments, in any order and often more than a pass holds.
TEST_P(BackendTest, RaggedCallsHaveTheBitsOfLoneOnes) {
  constexpr int64_t kCapacity = 300;
  for (const std::string& model : few_models()) {
    const auto backend = make(model, 3, 64), lone = make(model, 1, 128);
    std::mt19937 random(37);
    std::vector<Twins> all(8);
    for (Twins& twins : all) twins = {backend->new_state(kCapacity), lone->new_state(kCapacity), {}};
    int64_t most = 0;  // rows of a call
    for (int round = 0; round < 7; ++round) {
      SCOPED_TRACE(model + ", round " + std::to_string(round));
      std::ranges::shuffle(all, random);
      const std::span<Twins> chosen = std::span(all).first(1 + random() % all.size());
      std::vector<Segment> segments;
      int64_t total = 0;
      for (Twins& twins : chosen) {
        twins.draw(backend->config(), random);
        if (twins.together->position() > kCapacity - 80) {
          backend->reset(*twins.together);
          lone->reset(*twins.alone);
        }
        segments.push_back(segment(*twins.together, twins.tokens, twins.rows, twins.tentative));
        total += static_cast<int64_t>(twins.tokens.size());
      }
      most = std::max(most, total);
      backend->run(segments);
      for (Twins& twins : chosen) {
        run_one(*lone, *twins.alone, twins.tokens, twins.rows, twins.tentative);
        EXPECT_EQ(rows_of(*backend, *twins.together), rows_of(*lone, *twins.alone));
        const auto keep = static_cast<int64_t>(random() % (twins.tokens.size() + 1));
        if (twins.tentative) {
          backend->commit(*twins.together, keep);
          lone->commit(*twins.alone, keep);
        }
        EXPECT_EQ(twins.together->position(), twins.alone->position());
        ASSERT_TRUE(bytes_of(*backend, *twins.together) == bytes_of(*lone, *twins.alone));
      }
    }
    if (!is_reference()) {
      EXPECT_GT(most, backend->step_rows());
    }
  }
}

// The same where attention goes by spans, some of which are pieces of work of their own.
TEST_P(BackendTest, RaggedCallsInLongContexts) {
  if (is_reference()) GTEST_SKIP() << "one way whatever the length";
  const auto backend = make("tiny-mlx-4bit", 7, 64), lone = make("tiny-mlx-4bit", 1, 256);
  const Ids ids = random_ids(backend->config(), 560, 39);
  const auto deep = lone->new_state(560);
  (void)prefill(*lone, *deep, first(ids, 505), Rows::none);
  const auto snapshot = lone->snapshot(*deep);
  std::vector<Twins> all(5);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = {backend->new_state(700), lone->new_state(700), {}};
    if (i == 3) continue;  // begins at 0
    backend->restore(*all[i].together, *snapshot);
    lone->restore(*all[i].alone, *snapshot);
  }
  const std::vector<std::pair<size_t, bool>> pieces = {{1, false}, {40, false}, {20, true}, {45, false}, {9, false}};
  for (size_t used = 1; used <= all.size(); ++used) {
    std::vector<Segment> segments;
    for (size_t i = 0; i < used; ++i)
      segments.push_back(segment(*all[i].together, std::span(ids).first(pieces[i].first), Rows::all, pieces[i].second));
    backend->run(segments);
    for (size_t i = 0; i < used; ++i) {
      run_one(*lone, *all[i].alone, std::span(ids).first(pieces[i].first), Rows::all, pieces[i].second);
      EXPECT_EQ(rows_of(*backend, *all[i].together), rows_of(*lone, *all[i].alone)) << i << " of " << used;
      if (!pieces[i].second) continue;
      backend->commit(*all[i].together, 12);
      lone->commit(*all[i].alone, 12);
    }
  }
  for (const Twins& twins : all) EXPECT_TRUE(bytes_of(*backend, *twins.together) == bytes_of(*lone, *twins.alone));
}

// The order in which the same segments stand in a call is nobody's business.
TEST_P(BackendTest, OrderOfSegmentsChangesNoBit) {
  const auto backend = make("tiny-mlx-4bit", 2, 32);
  const Ids ids = random_ids(backend->config(), 100, 41);
  struct Part {
    size_t count;
    bool tentative;
  };
  const std::vector<Part> parts = {{70, false}, {1, false}, {9, true}, {33, false}};
  std::vector<size_t> order = {0, 1, 2, 3};
  std::vector<Result> expected;
  do {
    std::vector<std::unique_ptr<State>> states;
    std::vector<Segment> segments(parts.size());
    for (const Part& each : parts) {
      states.push_back(backend->new_state(100));
      segments[order[states.size() - 1]] =
          segment(*states.back(), std::span(ids).first(each.count), Rows::all, each.tentative);
    }
    backend->run(segments);
    std::vector<Result> results;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].tentative) backend->commit(*states[i], 4);
      results.push_back(result_of(*backend, *states[i]));
    }
    if (expected.empty()) expected = results;
    EXPECT_TRUE(results == expected) << order[0] << order[1] << order[2] << order[3];
  } while (std::ranges::next_permutation(order).found);
}

}  // namespace
}  // namespace prosa::test
