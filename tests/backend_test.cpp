// What every backend promises, for every backend and instruction set of this machine: agreement with the reference
// within the bounds of docs/reference/numerics.md, and bits that do not depend on threads, neighbours or snapshots.
//
// Knows backend.h only. Where the reference must be exact (it has one program for prefill and decode), it is asked to
// be.
#include "backend/backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "golden.h"
#include "metrics.h"
#include "prosa/error.h"
#include "test_models.h"

namespace prosa {
namespace {

using backend::Backend;
using backend::BackendOptions;
using backend::LogitRows;
using backend::Snapshot;
using backend::State;
using Ids = std::vector<int32_t>;
using Logits = std::vector<float>;  // [rows, vocab]

/// A backend under test.
struct Subject {
  std::string backend;
  std::string isa;  // "" for the reference
  int activation_bits = 15;
  int kv_bits = 8;
  [[nodiscard]] std::string name() const {
    return backend + "_" + isa + (activation_bits == 8 ? "_int8" : "") + (kv_bits == 16 ? "_kv16" : "");
  }
  friend std::ostream& operator<<(std::ostream& out, const Subject& s) { return out << s.name(); }
};

std::vector<Subject> subjects() {
  std::vector<Subject> all = {{"reference", ""}};
  for (const std::string& isa : backend::available_isas()) all.push_back({"cpu", isa});
  // With the kernels of one ISA; the others': kernels_test.
  all.push_back({"cpu", backend::available_isas().front(), 8});
  all.push_back({"cpu", backend::available_isas().front(), 15, 16});
  return all;
}

const std::vector<std::string> kGoldenModels = {"tiny-hf",        "tiny-mlx-4bit",  "tiny-mlx-mixed",
                                                "tiny-flat-5bit", "tiny-flat-8bit", "grouped-mlx-4bit"};

std::vector<std::string> all_models() {
  std::vector<std::string> all = kGoldenModels;
  std::ranges::copy(test::made_models(), std::back_inserter(all));
  return all;
}

Ids random_ids(const ModelConfig& config, size_t count, unsigned seed) {
  std::mt19937 generator(seed);  // its output is fixed by the standard; distributions are not
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(config.vocab_size));
  return ids;
}

Ids first(const Ids& ids, size_t count) { return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)}; }

Logits last_row(const Backend& backend, const Logits& logits) {
  return {logits.end() - static_cast<std::ptrdiff_t>(backend.config().vocab_size), logits.end()};
}

Logits prefill(Backend& backend, State& state, std::span<const int32_t> ids, LogitRows rows = LogitRows::all) {
  const size_t count = rows == LogitRows::all ? ids.size() : rows == LogitRows::last ? 1 : 0;
  Logits logits(count * static_cast<size_t>(backend.config().vocab_size));
  backend.prefill(state, {.tokens = ids, .rows = rows, .logits = logits});
  return logits;
}

Logits decode(Backend& backend, State& state, std::span<const int32_t> ids) {
  const auto vocab = static_cast<size_t>(backend.config().vocab_size);
  Logits logits(ids.size() * vocab);
  for (size_t i = 0; i < ids.size(); ++i) backend.decode(state, ids[i], std::span(logits).subspan(i * vocab, vocab));
  return logits;
}

class BackendTest : public testing::TestWithParam<Subject> {
 protected:
  static std::unique_ptr<Backend> make(const std::string& model, int threads = 2, int64_t chunk = 256) {
    return backend::make_backend(GetParam().backend, test::load_model(model),
                                 BackendOptions{.threads = threads,
                                                .isa = GetParam().isa,
                                                .activation_bits = GetParam().activation_bits,
                                                .kv_bits = GetParam().kv_bits,
                                                .max_prefill_chunk = chunk});
  }
  /// Teacher-forced logits of the reference from an empty state.
  static Logits reference_logits(const std::string& model, const Ids& ids) {
    const auto reference = backend::make_reference_backend(test::load_model(model), {});
    const auto state = reference->new_state(static_cast<int64_t>(ids.size()));
    return prefill(*reference, *state, ids);
  }
  static bool is_reference() { return GetParam().backend == "reference"; }
  /// Dense, even and odd bit widths, value heads = 2 x key heads: enough for properties that are not about numbers. The
  /// reference dequantizes first and is the same for all of them.
  static std::vector<std::string> few_models() {
    if (is_reference()) return {"tiny-hf", "tiny-mlx-4bit"};
    return {"tiny-hf", "tiny-mlx-4bit", "tiny-flat-5bit", "grouped-mlx-4bit"};
  }

  /// Within the bounds; the reference: the same bits.
  static void expect_agreement(const Backend& backend, const Logits& expected, const Logits& actual) {
    if (is_reference()) {
      EXPECT_EQ(test::max_abs_diff(expected, actual), 0);
      return;
    }
    test::Agreement agreement;
    agreement.add(expected, actual, static_cast<size_t>(backend.config().vocab_size));
    EXPECT_TRUE(within_bounds(agreement)) << agreement;
  }
  /// 8-bit activations are outside of the bounds that all else keeps: less than this would be a mistake.
  static bool within_bounds(const test::Agreement& agreement) {
    if (GetParam().activation_bits == 8) return test::within_int8_bounds(agreement);
    return test::within_synthetic_bounds(agreement);
  }
};

INSTANTIATE_TEST_SUITE_P(Every, BackendTest, testing::ValuesIn(subjects()),
                         [](const auto& param) { return test::test_name(param.param.name()); });

// ---- numbers --------------------------------------------------------------------------------------------------------

TEST_P(BackendTest, AgreesWithGoldenVectors) {
  for (const std::string& model : kGoldenModels) {
    SCOPED_TRACE(model);
    const test::Golden golden(model);
    const auto backend = make(model);
    test::Agreement agreement;
    for (const int length : golden.prompts()) {
      const std::string prompt = "prompt_" + std::to_string(length);
      const Ids ids = golden.ids(prompt + ".input_ids");
      const auto state = backend->new_state(length);
      agreement.add(golden.floats(prompt + ".logits"), prefill(*backend, *state, ids),
                    static_cast<size_t>(backend->config().vocab_size));
    }
    EXPECT_TRUE(within_bounds(agreement)) << agreement;
    std::cout << "  " << model << ": " << agreement << "\n";
  }
}

TEST_P(BackendTest, AgreesWithReferenceOnRandomTokens) {
  if (is_reference()) GTEST_SKIP() << "the reference itself";
  for (const std::string& model : all_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 200, 7);
    const Logits expected = reference_logits(model, ids);
    const auto state = backend->new_state(400);

    test::Agreement by_prefill;
    by_prefill.add(expected, prefill(*backend, *state, ids), static_cast<size_t>(backend->config().vocab_size));
    EXPECT_TRUE(within_bounds(by_prefill)) << "prefill: " << by_prefill;

    backend->reset(*state);
    test::Agreement by_decode;
    by_decode.add(expected, decode(*backend, *state, ids), static_cast<size_t>(backend->config().vocab_size));
    EXPECT_TRUE(within_bounds(by_decode)) << "decode: " << by_decode;
    std::cout << "  " << model << ": prefill " << by_prefill << "; decode " << by_decode << "\n";
  }
}

TEST_P(BackendTest, PrefillAgreesWithDecodes) {
  for (const std::string& model : few_models()) {
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 216, 11);
    for (const size_t n : {1, 2, 63, 64, 65, 200}) {
      SCOPED_TRACE(model + ", n = " + std::to_string(n));
      const Ids prompt = first(ids, n);
      const Ids after(ids.begin() + static_cast<std::ptrdiff_t>(n), ids.begin() + static_cast<std::ptrdiff_t>(n + 16));
      const auto one = backend->new_state(216);
      const auto other = backend->new_state(216);
      Logits at_once = prefill(*backend, *one, prompt);
      Logits one_by_one = decode(*backend, *other, prompt);
      // Both states must go on alike, so the 16 tokens after count as well.
      for (auto [logits, state] : {std::pair{&at_once, one.get()}, std::pair{&one_by_one, other.get()}}) {
        std::ranges::copy(decode(*backend, *state, after), std::back_inserter(*logits));
      }
      EXPECT_EQ(one->position(), static_cast<int64_t>(n + 16));
      EXPECT_EQ(other->position(), static_cast<int64_t>(n + 16));
      expect_agreement(*backend, one_by_one, at_once);
    }
  }
}

TEST_P(BackendTest, RandomCutsAgree) {
  std::mt19937 generator(3);
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 200, 13);
    const auto whole_state = backend->new_state(200);
    const Logits whole = prefill(*backend, *whole_state, ids);
    for (int trial = 0; trial < 4; ++trial) {
      const auto state = backend->new_state(200);
      Logits pieces;
      std::string cuts;
      for (size_t at = 0; at < ids.size();) {
        const size_t n = std::min<size_t>(1 + generator() % 90, ids.size() - at);
        cuts += " " + std::to_string(n);
        std::ranges::copy(prefill(*backend, *state, std::span(ids).subspan(at, n)), std::back_inserter(pieces));
        at += n;
      }
      SCOPED_TRACE("cuts" + cuts);
      expect_agreement(*backend, whole, pieces);
    }
  }
}

TEST_P(BackendTest, ChunkSizesAgree) {
  const auto whole_backend = make("tiny-mlx-4bit", 2, 256);
  const Ids ids = random_ids(whole_backend->config(), 200, 17);
  const auto whole_state = whole_backend->new_state(200);
  const Logits whole = prefill(*whole_backend, *whole_state, ids);
  for (const int64_t chunk : {1, 16, 64, 100, 200}) {
    SCOPED_TRACE(chunk);
    const auto backend = make("tiny-mlx-4bit", 2, chunk);
    const auto state = backend->new_state(200);
    expect_agreement(*backend, whole, prefill(*backend, *state, ids));
  }
}

TEST_P(BackendTest, LogitRowsAreChosenNotChanged) {
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 80, 19);
    const Ids after = random_ids(backend->config(), 8, 20);
    const auto all = backend->new_state(100);
    const auto last = backend->new_state(100);
    const auto none = backend->new_state(100);
    const Logits all_rows = prefill(*backend, *all, ids, LogitRows::all);
    const Logits one_row = prefill(*backend, *last, ids, LogitRows::last);
    (void)prefill(*backend, *none, ids, LogitRows::none);
    // One row and many may take different kernels, so the first row afterwards is compared within bounds too ...
    test::Agreement agreement;
    agreement.add(last_row(*backend, all_rows), one_row, static_cast<size_t>(backend->config().vocab_size));
    EXPECT_LE(agreement.mean_kl(), 5e-3);
    // ... but the states are the same ones.
    const Logits expected = decode(*backend, *all, after);
    EXPECT_EQ(expected, decode(*backend, *last, after));
    EXPECT_EQ(expected, decode(*backend, *none, after));
  }
}

// ---- bits -----------------------------------------------------------------------------------------------------------

TEST_P(BackendTest, ThreadsChangeNoBit) {
  for (const std::string& model : is_reference() ? few_models() : all_models()) {
    SCOPED_TRACE(model);
    Logits expected;
    for (const int threads : {1, 2, 3}) {
      const auto backend = make(model, threads);
      EXPECT_EQ(backend->threads(), threads);
      const Ids ids = random_ids(backend->config(), 70, 23);
      const auto state = backend->new_state(100);
      Logits logits = prefill(*backend, *state, ids);
      std::ranges::copy(decode(*backend, *state, first(ids, 6)), std::back_inserter(logits));
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
    Logits logits = prefill(*backend, *state, first(ids, 530), LogitRows::last);
    std::ranges::copy(prefill(*backend, *state, Ids(ids.begin() + 530, ids.end())), std::back_inserter(logits));
    std::ranges::copy(decode(*backend, *state, first(ids, 3)), std::back_inserter(logits));
    if (threads == 1) expected = logits;
    EXPECT_EQ(logits, expected) << threads << " threads";
  }
}

TEST_P(BackendTest, LongContextsAgreeWithTheReference) {
  if (is_reference()) GTEST_SKIP() << "it is what others are compared with";
  const auto backend = make("tiny-mlx-4bit", 5);
  const Ids ids = random_ids(backend->config(), 560, 29);
  const Logits expected = reference_logits("tiny-mlx-4bit", ids);
  const auto at_once = backend->new_state(600), in_steps = backend->new_state(600);
  expect_agreement(*backend, expected, prefill(*backend, *at_once, ids));
  (void)prefill(*backend, *in_steps, first(ids, 540), LogitRows::last);
  const auto vocab = static_cast<int64_t>(backend->config().vocab_size);
  expect_agreement(*backend, Logits(expected.begin() + 540 * vocab, expected.end()),
                   decode(*backend, *in_steps, Ids(ids.begin() + 540, ids.end())));
}

TEST_P(BackendTest, SameCallsSameBits) {
  const auto backend = make("tiny-mlx-mixed");
  const Ids ids = random_ids(backend->config(), 150, 29);
  const auto used = backend->new_state(200);
  const Logits expected = prefill(*backend, *used, ids);
  (void)decode(*backend, *used, first(ids, 20));
  backend->reset(*used);
  EXPECT_EQ(used->position(), 0);
  EXPECT_EQ(prefill(*backend, *used, ids), expected) << "a reset state is as good as new";
  const auto fresh = backend->new_state(150);
  EXPECT_EQ(prefill(*backend, *fresh, ids), expected) << "capacity changes nothing";
}

TEST_P(BackendTest, BatchNeighboursChangeNoBit) {
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const auto vocab = static_cast<size_t>(backend->config().vocab_size);
    const Ids ids = random_ids(backend->config(), 200, 31);
    for (const size_t batch : {1, 2, 3, 5, 9}) {
      SCOPED_TRACE("batch of " + std::to_string(batch));
      std::vector<std::unique_ptr<State>> together;
      std::vector<std::unique_ptr<State>> alone;
      std::vector<State*> pointers;
      for (size_t i = 0; i < batch; ++i) {  // states of different age and capacity
        const Ids prompt = first(ids, 1 + 7 * i);
        together.push_back(backend->new_state(static_cast<int64_t>(80 + i)));
        alone.push_back(backend->new_state(80));
        (void)prefill(*backend, *together.back(), prompt, LogitRows::none);
        (void)prefill(*backend, *alone.back(), prompt, LogitRows::none);
        pointers.push_back(together.back().get());
      }
      for (size_t step = 0; step < 4; ++step) {
        const Ids tokens(ids.begin() + static_cast<std::ptrdiff_t>(100 + step * batch),
                         ids.begin() + static_cast<std::ptrdiff_t>(100 + (step + 1) * batch));
        Logits rows(batch * vocab);
        backend->decode_batch(pointers, tokens, rows);
        for (size_t i = 0; i < batch; ++i) {
          const Logits row(rows.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                           rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
          EXPECT_EQ(row, decode(*backend, *alone[i], Ids{tokens[i]})) << "row " << i << ", step " << step;
          EXPECT_EQ(together[i]->position(), alone[i]->position());
        }
      }
    }
  }
}

TEST_P(BackendTest, SnapshotContinuesWithTheSameBits) {
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 130, 37);
    const Ids decoded = first(ids, 10);
    const Ids more(ids.begin() + 70, ids.end());
    const auto state = backend->new_state(200);
    (void)prefill(*backend, *state, first(ids, 70));
    const auto snapshot = backend->snapshot(*state);
    EXPECT_EQ(snapshot->position(), 70);
    EXPECT_GT(snapshot->byte_size(), 0);
    const auto go_on = [&](State& from) {
      EXPECT_EQ(from.position(), 70);
      Logits logits = decode(*backend, from, decoded);
      std::ranges::copy(prefill(*backend, from, more), std::back_inserter(logits));
      return logits;
    };
    const Logits expected = go_on(*state);

    backend->restore(*state, *snapshot);
    EXPECT_EQ(go_on(*state), expected) << "into the state itself";
    backend->reset(*state);
    backend->restore(*state, *snapshot);
    EXPECT_EQ(go_on(*state), expected) << "after reset";
    for (const int64_t capacity : {140, 300}) {
      const auto other = backend->new_state(capacity);
      (void)prefill(*backend, *other, Ids(90, 5), LogitRows::none);
      backend->restore(*other, *snapshot);
      EXPECT_EQ(go_on(*other), expected) << "into a state of capacity " << capacity;
    }
    const auto small = backend->new_state(69);
    (void)prefill(*backend, *small, decoded, LogitRows::none);
    EXPECT_NE(test::error_code([&] { backend->restore(*small, *snapshot); }), std::nullopt);
    EXPECT_EQ(small->position(), 10) << "a refused restore changes nothing";
  }
}

/// What a state was fed, in pieces as it was fed: the same pieces give the same bits from an empty state.
using History = std::vector<Ids>;  // one id: a decode step; several: a prefill

Logits feed(Backend& backend, State& state, const Ids& piece) {
  return piece.size() == 1 ? decode(backend, state, piece) : prefill(backend, state, piece, LogitRows::last);
}

// States and snapshots share KV: whatever is written after one of them was taken or restored must not show in another.
TEST_P(BackendTest, BranchesNeverSeeEachOther) {
  const auto backend = make("tiny-mlx-4bit");
  const int64_t capacity = 300;
  struct Branch {
    std::unique_ptr<State> state;
    History history;
  };
  struct Kept {
    std::unique_ptr<Snapshot> snapshot;
    History history;
  };
  std::mt19937 random(11);
  std::vector<Branch> branches(2);
  for (Branch& branch : branches) branch.state = backend->new_state(capacity);
  std::vector<Kept> kept;
  for (int round = 0; round < 60; ++round) {
    Branch& branch = branches[random() % branches.size()];
    const auto left = static_cast<size_t>(capacity - branch.state->position());
    if (!kept.empty() && (left < 90 || random() % 3 == 0)) {
      const Kept& from = kept[random() % kept.size()];
      backend->restore(*branch.state, *from.snapshot);
      branch.history = from.history;
    } else if (left < 90) {
      backend->reset(*branch.state);
      branch.history.clear();
    }
    const size_t size = random() % 2 == 0 ? 1 : 2 + random() % 80;
    branch.history.push_back(random_ids(backend->config(), size, static_cast<unsigned>(random())));
    const Logits logits = feed(*backend, *branch.state, branch.history.back());
    if (random() % 4 == 0 && branch.state->position() <= 200) {
      if (kept.size() == 5) kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(random() % 5));
      kept.push_back({backend->snapshot(*branch.state), branch.history});
    }
    if (round % 4 != 0) continue;
    const auto cold = backend->new_state(capacity);
    Logits expected;
    for (const Ids& piece : branch.history) expected = feed(*backend, *cold, piece);
    ASSERT_EQ(logits, expected) << "round " << round;
  }
}

// Both stand on the snapshot's own memory until they go on, in one pass.
TEST_P(BackendTest, ABatchOfStatesFromOneSnapshotLeavesItAsItWas) {
  const auto backend = make("tiny-mlx-4bit");
  const auto vocab = static_cast<size_t>(backend->config().vocab_size);
  const auto state = backend->new_state(200);
  (void)prefill(*backend, *state, random_ids(backend->config(), 40, 43), LogitRows::none);
  const auto snapshot = backend->snapshot(*state);
  const auto bytes = [&] {
    std::vector<std::byte> all;
    for (const auto& part : snapshot->parts()) all.insert(all.end(), part.bytes.begin(), part.bytes.end());
    return all;
  };
  const std::vector<std::byte> before = bytes();
  const auto other = backend->new_state(100);
  backend->restore(*other, *snapshot);
  const Ids tokens = random_ids(backend->config(), 2, 44);
  Logits together(2 * vocab);
  State* const both[] = {state.get(), other.get()};
  for (int step = 0; step < 3; ++step) backend->decode_batch(both, tokens, together);
  EXPECT_TRUE(bytes() == before);
  for (size_t i = 0; i < 2; ++i) {
    backend->restore(*state, *snapshot);
    Logits alone(vocab);
    for (int step = 0; step < 3; ++step) backend->decode(*state, tokens[i], alone);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + static_cast<std::ptrdiff_t>(i * vocab)))
        << "row " << i;
  }
}

TEST_P(BackendTest, SnapshotOfAnEmptyStateIsEmpty) {
  const auto backend = make("tiny-mlx-4bit");
  const auto state = backend->new_state(64);
  const auto empty = backend->snapshot(*state);
  EXPECT_EQ(empty->position(), 0);
  const Ids ids = random_ids(backend->config(), 20, 41);
  const Logits expected = prefill(*backend, *state, ids);
  backend->restore(*state, *empty);
  EXPECT_EQ(state->position(), 0);
  EXPECT_EQ(prefill(*backend, *state, ids), expected);
}

// ---- cancelling and refusing ----------------------------------------------------------------------------------------

TEST_P(BackendTest, CancelledPrefillLeavesAStateThatResets) {
  const auto backend = make("tiny-mlx-4bit", 2, 32);
  const Ids ids = random_ids(backend->config(), 150, 43);
  const auto state = backend->new_state(200);
  const Logits expected = prefill(*backend, *state, ids);
  backend->reset(*state);
  (void)prefill(*backend, *state, first(ids, 50));
  const auto snapshot = backend->snapshot(*state);
  const Logits continued = decode(*backend, *state, first(ids, 3));

  for (const bool before : {true, false}) {
    SCOPED_TRACE(before ? "cancelled before the call" : "cancelled between chunks");
    std::atomic<bool> cancel = before;
    int64_t reached = 0;
    Logits row(static_cast<size_t>(backend->config().vocab_size));
    backend->reset(*state);
    const auto code = test::error_code([&] {
      backend->prefill(*state, {.tokens = ids,
                                .rows = LogitRows::last,
                                .logits = row,
                                .cancel = &cancel,
                                .progress = [&](int64_t done, int64_t) {
                                  reached = done;
                                  cancel = true;
                                }});
    });
    EXPECT_EQ(code, ErrorCode::cancelled);
    EXPECT_LE(reached, before ? 0 : 32) << "stops within the next chunk";
    EXPECT_FALSE(state->valid());
    EXPECT_NE(test::error_code([&] { backend->decode(*state, 1, row); }), std::nullopt)
        << "an invalid state is refused";

    backend->reset(*state);
    EXPECT_TRUE(state->valid());
    EXPECT_EQ(prefill(*backend, *state, ids), expected);
  }

  std::atomic<bool> cancel = true;
  EXPECT_EQ(test::error_code([&] {
              backend->prefill(*state,
                               {.tokens = first(ids, 9), .rows = LogitRows::none, .logits = {}, .cancel = &cancel});
            }),
            ErrorCode::cancelled);
  backend->restore(*state, *snapshot);
  EXPECT_TRUE(state->valid());
  EXPECT_EQ(decode(*backend, *state, first(ids, 3)), continued) << "restore() makes it usable too";
}

TEST_P(BackendTest, CancellingAtAnyMomentIsAllOrNothing) {
  const auto backend = make("tiny-mlx-4bit", 3, 32);
  const Ids ids = random_ids(backend->config(), 150, 44);
  const auto state = backend->new_state(200);
  const auto start = std::chrono::steady_clock::now();
  const Logits every_row = prefill(*backend, *state, ids);
  const auto whole = std::chrono::steady_clock::now() - start;
  const Logits expected(every_row.end() - backend->config().vocab_size, every_row.end());
  std::mt19937 random(45);
  for (int i = 0; i < 12; ++i) {
    backend->reset(*state);
    std::atomic<bool> cancel = false;
    std::thread asker([&, wait = whole * (random() % 1100) / 1000] {
      std::this_thread::sleep_for(wait);
      cancel = true;
    });
    Logits row(static_cast<size_t>(backend->config().vocab_size));
    const auto code = test::error_code(
        [&] { backend->prefill(*state, {.tokens = ids, .rows = LogitRows::last, .logits = row, .cancel = &cancel}); });
    asker.join();
    if (code) {
      EXPECT_EQ(code, ErrorCode::cancelled);
      EXPECT_FALSE(state->valid());
    } else {
      EXPECT_EQ(row, expected) << "nothing of a pass that says it is whole was skipped";
    }
  }
}

TEST_P(BackendTest, ProgressReachesTheEnd) {
  const auto backend = make("tiny-mlx-4bit", 1, 32);
  const Ids ids = random_ids(backend->config(), 100, 47);
  const auto state = backend->new_state(100);
  std::vector<int64_t> seen;
  backend->prefill(*state, {.tokens = ids,
                            .rows = LogitRows::none,
                            .logits = {},
                            .cancel = nullptr,
                            .progress = [&](int64_t done, int64_t total) {
                              EXPECT_EQ(total, 100);
                              seen.push_back(done);
                            }});
  ASSERT_GE(seen.size(), 3U);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_GT(seen.front(), 0);
  EXPECT_LE(seen.back(), 100);
  EXPECT_EQ(state->position(), 100);
}

TEST_P(BackendTest, ContextExceededLeavesTheStateUntouched) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 40, 53);
  const auto state = backend->new_state(32);
  const auto witness = backend->new_state(64);
  EXPECT_EQ(state->capacity(), 32);
  Logits row(static_cast<size_t>(backend->config().vocab_size));
  const auto refused = [&](auto&& call) {
    const int64_t position = state->position();
    EXPECT_EQ(test::error_code(call), ErrorCode::context_exceeded);
    EXPECT_EQ(state->position(), position);
    EXPECT_TRUE(state->valid());
  };

  refused([&] { (void)prefill(*backend, *state, ids); });  // 40 into 32
  EXPECT_EQ(prefill(*backend, *state, first(ids, 30)), prefill(*backend, *witness, first(ids, 30)));
  refused([&] { (void)prefill(*backend, *state, first(ids, 3)); });  // 30 + 3
  EXPECT_EQ(decode(*backend, *state, first(ids, 2)), decode(*backend, *witness, first(ids, 2)));
  refused([&] { backend->decode(*state, 1, row); });  // full

  // In a batch with a full state, nobody moves.
  State* const both[] = {witness.get(), state.get()};
  Logits rows(2 * row.size());
  refused([&] { backend->decode_batch(both, first(ids, 2), rows); });
  EXPECT_EQ(witness->position(), 32);
}

TEST_P(BackendTest, TokenIdsOutOfRangeAreRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids good = random_ids(backend->config(), 10, 59);
  const auto state = backend->new_state(64);
  const auto witness = backend->new_state(64);
  const auto other = backend->new_state(64);
  (void)prefill(*backend, *state, good);
  (void)prefill(*backend, *witness, good);
  Logits rows(3 * static_cast<size_t>(backend->config().vocab_size));
  for (const int32_t bad : {-1, static_cast<int32_t>(backend->config().vocab_size), INT32_MAX, INT32_MIN}) {
    SCOPED_TRACE(bad);
    const auto row = std::span(rows).first(rows.size() / 3);
    EXPECT_EQ(test::error_code([&] { (void)prefill(*backend, *state, Ids{1, 2, bad}); }), ErrorCode::invalid_argument);
    EXPECT_EQ(test::error_code([&] { backend->decode(*state, bad, row); }), ErrorCode::invalid_argument);
    State* const both[] = {other.get(), state.get()};
    EXPECT_EQ(test::error_code([&] { backend->decode_batch(both, Ids{1, bad}, rows); }), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(state->position(), 10);
  EXPECT_EQ(other->position(), 0);
  ASSERT_TRUE(state->valid());
  EXPECT_EQ(decode(*backend, *state, first(good, 4)), decode(*backend, *witness, first(good, 4)));
}

TEST_P(BackendTest, ImpossibleCapacityIsOutOfMemory) {
  const auto backend = make("tiny-mlx-4bit");
  for (const int64_t capacity : {int64_t{1} << 44, INT64_MAX}) {
    EXPECT_EQ(test::error_code([&] { (void)backend->new_state(capacity); }), ErrorCode::out_of_memory) << capacity;
  }
}

TEST_P(BackendTest, TellsWhatItIs) {
  const auto backend = make("grouped-mlx-4bit", 2);
  EXPECT_EQ(backend->name(), GetParam().backend);
  if (!GetParam().isa.empty()) {
    EXPECT_EQ(backend->isa(), GetParam().isa);
  }
  EXPECT_EQ(backend->threads(), 2);
  EXPECT_EQ(backend->config().num_layers, 8);
  EXPECT_GT(backend->memory().weights, 0);
  const auto state = backend->new_state(300);
  EXPECT_GT(state->byte_size(), 0);
  (void)prefill(*backend, *state, random_ids(backend->config(), 260, 3), LogitRows::none);
  // At least half precision for keys and values of the tokens in the attention layers.
  EXPECT_GE(state->byte_size(), 260 * 2 * backend->config().kv_dim() * 2 * 2);
}

TEST(MakeBackend, UnknownNamesAreUnsupported) {
  EXPECT_EQ(test::error_code([] { (void)backend::make_backend("abacus", test::load_model("tiny-hf"), {}); }),
            ErrorCode::unsupported);
}

TEST(MakeBackend, UnknownIsaIsUnsupported) {
  if (backend::available_isas().empty()) GTEST_SKIP() << "no cpu backend";
  EXPECT_EQ(test::error_code([] {
              (void)backend::make_backend("cpu", test::load_model("tiny-hf"),
                                          BackendOptions{.threads = 1, .isa = "sse9", .max_prefill_chunk = 256});
            }),
            ErrorCode::unsupported);
}

}  // namespace
}  // namespace prosa
