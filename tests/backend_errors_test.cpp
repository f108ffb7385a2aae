// Calls that a backend refuses, for every backend and instruction set of this machine: the error is the right one, and
// nothing was touched, neither the state it is about nor the others of the call.
//
// Pending tokens are in backend_tentative_test.cpp, memory that runs out in backend_memory_test.cpp.
#include <array>
#include <climits>
#include <cmath>
#include <functional>

#include "backend/candidates.h"
#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

constexpr auto kInvalid = ErrorCode::invalid_argument;

/// A state in the middle of something, its rows asked for.
std::unique_ptr<State> used_state(Backend& backend, int64_t capacity, size_t tokens, unsigned seed) {
  auto state = backend.new_state(capacity);
  (void)prefill(backend, *state, random_ids(backend.config(), tokens, seed));
  return state;
}

/// run() throws `code`, and no state of `witnesses` has changed.
void expect_refused(Backend& backend, std::vector<Segment> segments, ErrorCode code,
                    const std::vector<const State*>& witnesses) {
  std::vector<Standing> before;
  for (const State* state : witnesses) before.push_back(standing(backend, *state));
  EXPECT_EQ(error_code([&] { backend.run(segments); }), code);
  for (size_t i = 0; i < witnesses.size(); ++i)
    EXPECT_EQ(standing(backend, *witnesses[i]), before[i]) << "segment " << i;
}

TEST_P(BackendTest, BadSegmentsAreRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const auto good = used_state(*backend, 64, 5, 61), bad = used_state(*backend, 64, 7, 62);
  const Ids ids = random_ids(backend->config(), 4, 63);
  const std::vector<const State*> both = {good.get(), bad.get()};
  // The good segment stands before or behind the bad one.
  const auto refused = [&](const Segment& wrong, const char* what) {
    SCOPED_TRACE(what);
    expect_refused(*backend, {segment(*good, ids), wrong}, kInvalid, both);
    expect_refused(*backend, {wrong, segment(*good, ids)}, kInvalid, both);
    expect_refused(*backend, {wrong}, kInvalid, both);
  };
  expect_refused(*backend, {}, kInvalid, both);
  refused(segment(*bad, {}), "no tokens");
  refused(segment(*bad, {}, Rows::none, true), "no tentative tokens");
  Segment nobody = segment(*bad, ids);
  nobody.state = nullptr;
  refused(nobody, "no state");
  for (const int32_t token : {-1, static_cast<int32_t>(backend->config().vocab_size), INT32_MAX, INT32_MIN}) {
    for (const bool tentative : {false, true}) {
      const Ids wrong = {1, 2, token};
      refused(segment(*bad, wrong, Rows::last, tentative), "a token outside of the vocabulary");
    }
  }
  const Ids many(backend::kMaxTentative + 1, 3);
  refused(segment(*bad, many, Rows::last, true), "too many tentative tokens");
  expect_refused(*backend, {segment(*bad, ids), segment(*good, ids), segment(*bad, ids)}, kInvalid, both);

  const auto alone = used_state(*backend, 64, 7, 62);
  EXPECT_EQ(decode(*backend, *bad, ids), decode(*backend, *alone, ids));
}

TEST_P(BackendTest, ContextExceededTouchesNothing) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 40, 53);
  const auto state = backend->new_state(32), witness = backend->new_state(64), fresh = backend->new_state(64);
  EXPECT_EQ(state->capacity(), 32);
  const auto refused = [&](std::span<const int32_t> tokens) {
    for (const bool tentative : {false, true}) {
      if (tentative && tokens.size() > backend::kMaxTentative) continue;
      expect_refused(*backend, {segment(*state, tokens, Rows::last, tentative)}, ErrorCode::context_exceeded,
                     {state.get()});
      expect_refused(*backend, {segment(*fresh, ids), segment(*state, tokens, Rows::last, tentative)},
                     ErrorCode::context_exceeded, {fresh.get(), state.get()});
    }
  };
  refused(ids);  // 40 into 32
  EXPECT_EQ(prefill(*backend, *state, first(ids, 30)), prefill(*backend, *witness, first(ids, 30)));
  refused(first(ids, 3));  // 30 + 3
  EXPECT_EQ(decode(*backend, *state, first(ids, 2)), decode(*backend, *witness, first(ids, 2)));
  refused(first(ids, 1));  // full
  EXPECT_EQ(fresh->position(), 0);
}

TEST_P(BackendTest, ForeignStatesAreRefused) {
  const auto backend = make("tiny-mlx-4bit"), other = make("tiny-mlx-4bit");
  const auto unlike = backend::make_backend(is_reference() ? "cpu" : "reference", load_model("tiny-mlx-4bit"), {});
  const auto mine = used_state(*backend, 64, 5, 64);
  const Ids ids = random_ids(backend->config(), 3, 65);
  for (Backend* owner : {other.get(), unlike.get()}) {
    SCOPED_TRACE(owner->description().name);
    const auto foreign = used_state(*owner, 64, 5, 64);
    const Standing before = standing(*owner, *foreign);
    expect_refused(*backend, {segment(*mine, ids), segment(*foreign, ids)}, kInvalid, {mine.get()});
    expect_refused(*backend, {segment(*foreign, ids)}, kInvalid, {});
    Logits row(static_cast<size_t>(backend->config().vocab_size));
    const backend::RowPick ask{foreign.get(), 0, {}};
    backend::Candidates answer;
    const auto snapshot = backend->snapshot(*mine);
    const std::vector<std::pair<const char*, std::function<void()>>> calls = {
        {"reset", [&] { backend->reset(*foreign); }},
        {"logits", [&] { backend->logits(*foreign, 0, row); }},
        {"set_row", [&] { backend->set_row(*foreign, row); }},
        {"candidates",
         [&] {
           backend->candidates({&ask, 1}, {&answer, 1});
         }},
        {"commit", [&] { backend->commit(*foreign, 0); }},
        {"snapshot", [&] { (void)backend->snapshot(*foreign); }},
        {"restore", [&] { backend->restore(*foreign, *snapshot); }},
    };
    for (const auto& [name, call] : calls) EXPECT_EQ(error_code(call), kInvalid) << name;
    EXPECT_EQ(standing(*owner, *foreign), before);
  }
}

TEST_P(BackendTest, ForeignSnapshotsAreRefused) {
  const auto backend = make("tiny-mlx-4bit"), larger = make("grouped-mlx-4bit");
  const auto twin = make("tiny-hf");  // of the same dimensions
  const auto unlike = backend::make_backend(is_reference() ? "cpu" : "reference", load_model("tiny-mlx-4bit"), {});
  const auto state = used_state(*backend, 64, 5, 66);
  const Standing before = standing(*backend, *state);
  for (Backend* owner : {larger.get(), twin.get(), unlike.get()}) {
    for (const size_t tokens : {size_t{0}, size_t{5}}) {
      const auto foreign = owner->new_state(64);
      if (tokens > 0) (void)prefill(*owner, *foreign, random_ids(owner->config(), tokens, 67));
      const auto snapshot = owner->snapshot(*foreign);
      EXPECT_EQ(error_code([&] { backend->restore(*state, *snapshot); }), kInvalid) << owner->description().name;
    }
  }
  EXPECT_EQ(standing(*backend, *state), before);
}

// A state is continued as it was begun: other bits of keys and values, or of activations, are another layout.
TEST_P(BackendTest, SnapshotsOfOtherOptionsAreRefused) {
  if (GetParam().backend != "cpu") GTEST_SKIP() << "has no such options";
  const auto backend = make("tiny-mlx-4bit");
  const auto state = used_state(*backend, 64, 5, 68);
  const Standing before = standing(*backend, *state);
  for (const bool kv : {false, true}) {
    BackendOptions options;
    options.cpu = {.threads = 1,
                   .isa = GetParam().isa,
                   .activation_bits = kv ? GetParam().activation_bits : 23 - GetParam().activation_bits,
                   .kv_bits = kv ? 24 - GetParam().kv_bits : GetParam().kv_bits};
    const auto other = backend::make_backend("cpu", load_model("tiny-mlx-4bit"), options);
    EXPECT_NE(other->snapshot_layout(), backend->snapshot_layout());
    const auto snapshot = other->snapshot(*used_state(*other, 64, 5, 68));
    EXPECT_EQ(error_code([&] { backend->restore(*state, *snapshot); }), kInvalid) << other->snapshot_layout();
  }
  EXPECT_EQ(standing(*backend, *state), before);
}

TEST_P(BackendTest, CapacitiesThatCannotBe) {
  const auto backend = make("tiny-mlx-4bit");
  for (const int64_t capacity : {int64_t{0}, int64_t{-1}, INT64_MIN})
    EXPECT_EQ(error_code([&] { (void)backend->new_state(capacity); }), kInvalid) << capacity;
  for (const int64_t capacity : {int64_t{1} << 44, INT64_MAX})
    EXPECT_EQ(error_code([&] { (void)backend->new_state(capacity); }), ErrorCode::out_of_memory) << capacity;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

TEST_P(BackendTest, RowsThatAreNotThereAreRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const auto state = used_state(*backend, 64, 3, 69), fresh = backend->new_state(64);
  Logits out(static_cast<size_t>(backend->config().vocab_size), 7.0F);
  const Logits untouched = out;
  for (const int64_t row : {-1, 3, 100})
    EXPECT_EQ(error_code([&] { backend->logits(*state, row, out); }), kInvalid) << row;
  EXPECT_EQ(error_code([&] { backend->logits(*fresh, 0, out); }), kInvalid);
  run_one(*backend, *state, Ids{1}, Rows::none);
  EXPECT_EQ(error_code([&] { backend->logits(*state, 0, out); }), kInvalid) << "rows of a call before the last";
  EXPECT_EQ(out, untouched);
}

/// A random question that check_pick() admits. It owns what the pick points to.
struct Question {
  std::vector<backend::LogitChange> changes;
  std::vector<uint32_t> allowed;
  backend::Pick pick;

  Question(int64_t vocab, std::mt19937& random) {
    if (random() % 2 == 0) {
      for (int32_t id = 0; id < vocab; id += static_cast<int32_t>(1 + random() % 60))
        changes.push_back({id, random() % 2 == 0 ? 1.0F : 1.3F, random() % 2 == 0 ? 0.0F : -0.5F});
    }
    if (random() % 2 == 0) {
      allowed.resize(static_cast<size_t>((vocab + 31) / 32));
      for (uint32_t& word : allowed) word = static_cast<uint32_t>(random() & random() & random());
    }
    pick = {changes, allowed, std::array{1, 2, 50, 256}[random() % 4], random() % 2 == 0};
  }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
};

#if defined(PROSA_TEST_CUDA) || defined(PROSA_TEST_MLX)
constexpr bool kOnCard = true;
#else
constexpr bool kOnCard = false;
#endif

/// A device adds in another order than the host.
bool same_log_sum(double a, double b) { return a == b || (kOnCard && std::abs(a - b) <= 2e-6 * (1 + std::abs(b))); }

TEST_P(BackendTest, CandidatesAreThoseOfTheWholeRow) {
  const auto backend = make("tiny-mlx-4bit");
  const int64_t vocab = backend->config().vocab_size;
  const auto one = used_state(*backend, 64, 20, 70), two = used_state(*backend, 64, 9, 71);
  run_one(*backend, *two, random_ids(backend->config(), 6, 72), Rows::all, true);  // tentative rows answer too
  std::mt19937 random(73);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::unique_ptr<Question>> questions;
    std::vector<backend::RowPick> asks;
    for (size_t i = 0; i <= random() % 4; ++i) {
      const State* state = random() % 2 == 0 ? one.get() : two.get();
      questions.push_back(std::make_unique<Question>(vocab, random));
      asks.push_back(
          {state, static_cast<int64_t>(random() % static_cast<uint64_t>(state->rows())), questions[i]->pick});
    }
    std::vector<backend::Candidates> answers(asks.size());
    backend->candidates(asks, answers);
    for (size_t i = 0; i < asks.size(); ++i) {
      Logits row(static_cast<size_t>(vocab));
      backend->logits(*asks[i].state, asks[i].row, row);
      backend::Candidates expected;
      backend::pick_candidates(row, asks[i].pick, expected);
      EXPECT_EQ(answers[i].best, expected.best);
      if (asks[i].pick.log_sum) {
        EXPECT_TRUE(same_log_sum(answers[i].log_sum, expected.log_sum))
            << answers[i].log_sum << ", " << expected.log_sum;
      }
    }
  }
}

TEST_P(BackendTest, BadQuestionsAreRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const auto vocab = static_cast<int32_t>(backend->config().vocab_size);
  const auto state = used_state(*backend, 64, 3, 74), fresh = backend->new_state(8);
  using Changes = std::vector<backend::LogitChange>;
  const std::vector<uint32_t> mask(static_cast<size_t>((vocab + 31) / 32), ~0U);
  const auto code = [&](const backend::RowPick& ask) {
    const std::vector<backend::RowPick> asks = {{state.get(), 0, {}}, ask};
    std::vector<backend::Candidates> answers(2);
    const auto result = error_code([&] { backend->candidates(asks, answers); });
    if (result) {
      EXPECT_TRUE(answers[0].best.empty()) << "no answer to the good question before the bad one was seen";
    }
    return result;
  };
  const auto asked = [&](const backend::Pick& pick) { return code({state.get(), 2, pick}); };
  EXPECT_EQ(asked({.changes = Changes{}, .allowed = mask, .k = backend::kMaxCandidates}), std::nullopt);
  EXPECT_EQ(code({nullptr, 0, {}}), kInvalid);
  EXPECT_EQ(code({fresh.get(), 0, {}}), kInvalid);
  EXPECT_EQ(code({state.get(), -1, {}}), kInvalid);
  EXPECT_EQ(code({state.get(), 3, {}}), kInvalid);
  for (const int64_t k : {int64_t{0}, int64_t{-1}, backend::kMaxCandidates + 1}) EXPECT_EQ(asked({.k = k}), kInvalid);
  EXPECT_EQ(asked({.allowed = std::span(mask).first(mask.size() - 1)}), kInvalid);
  for (const Changes& wrong :
       {Changes{{-1, 1, 0}}, Changes{{vocab, 1, 0}}, Changes{{5, 1, 0}, {5, 1, 0}}, Changes{{5, 1, 0}, {4, 1, 0}}})
    EXPECT_EQ(asked({.changes = wrong}), kInvalid);
}

}  // namespace
}  // namespace prosa::test
