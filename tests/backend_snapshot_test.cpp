// Snapshots and forks, for every backend and instruction set of this machine: what is restored goes on with the very
// bits, states that share memory never see each other, and a snapshot outlives the backend that took it.
//
// Invariant: expectations are exact.
#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

TEST_P(BackendTest, SnapshotContinuesWithTheSameBits) {
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 130, 37);
    const Ids decoded = first(ids, 10), more = part(ids, 70, 60);
    const auto state = backend->new_state(200);
    (void)prefill(*backend, *state, first(ids, 70));
    const auto snapshot = backend->snapshot(*state);
    EXPECT_EQ(snapshot->position(), 70);
    EXPECT_GT(snapshot->byte_size(), 0);
    EXPECT_EQ(state->rows(), 70) << "taking one leaves the rows";
    const auto go_on = [&](State& from) {
      EXPECT_EQ(from.position(), 70);
      Logits logits = decode(*backend, from, decoded);
      append(logits, prefill(*backend, from, more));
      return logits;
    };
    const Logits expected = go_on(*state);

    backend->restore(*state, *snapshot);
    EXPECT_EQ(state->rows(), 0) << "a restored state has none";
    EXPECT_EQ(go_on(*state), expected) << "into the state itself";
    backend->reset(*state);
    backend->restore(*state, *snapshot);
    EXPECT_EQ(go_on(*state), expected) << "after reset";
    for (const int64_t capacity : {140, 300}) {
      const auto other = backend->new_state(capacity);
      (void)prefill(*backend, *other, Ids(90, 5), Rows::none);
      backend->restore(*other, *snapshot);
      EXPECT_EQ(go_on(*other), expected) << "into a state of capacity " << capacity;
    }
  }
}

TEST_P(BackendTest, ASnapshotThatDoesNotFitIsRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 70, 38);
  const auto state = backend->new_state(200), small = backend->new_state(69);
  (void)prefill(*backend, *state, ids, Rows::none);
  const auto snapshot = backend->snapshot(*state);
  (void)prefill(*backend, *small, first(ids, 10));
  const Standing before = standing(*backend, *small);
  EXPECT_EQ(error_code([&] { backend->restore(*small, *snapshot); }), ErrorCode::context_exceeded);
  EXPECT_EQ(standing(*backend, *small), before);
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

// A row is not part of a snapshot: a session file keeps the last one beside it.
TEST_P(BackendTest, ARowCanBeGivenBack) {
  const auto backend = make("tiny-mlx-4bit");
  const Ids ids = random_ids(backend->config(), 9, 42);
  const auto state = backend->new_state(64);
  const Logits row = prefill(*backend, *state, ids, Rows::last);
  const auto snapshot = backend->snapshot(*state);
  const auto other = backend->new_state(64);
  backend->restore(*other, *snapshot);
  backend->set_row(*other, row);
  EXPECT_EQ(other->rows(), 1);
  EXPECT_EQ(rows_of(*backend, *other), row);
  EXPECT_GE(other->row_bytes(), static_cast<int64_t>(row.size() * sizeof(float)));
  EXPECT_EQ(decode(*backend, *other, first(ids, 2)), decode(*backend, *state, first(ids, 2)));
}

/// What a state was fed, in pieces as it was fed: the same pieces give the same bits from an empty state.
using History = std::vector<Ids>;  // one id: a decode step; several: a prefill

Logits feed(Backend& backend, State& state, const Ids& piece) { return prefill(backend, state, piece, Rows::last); }

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

// Both stand on the snapshot's own memory until they go on, in one call, and write the same positions.
TEST_P(BackendTest, ForksInOneCallStayIndependent) {
  for (const size_t depth : {40, 128, 130}) {
    SCOPED_TRACE(depth);
    const auto backend = make("tiny-mlx-4bit");
    const Ids ids = random_ids(backend->config(), 300, 43);
    const auto real = backend->new_state(400), draft = backend->new_state(300), alone = backend->new_state(400);
    (void)prefill(*backend, *real, first(ids, depth), Rows::none);
    const auto snapshot = backend->snapshot(*real);
    const StateBytes before = bytes_of(*snapshot);
    backend->restore(*draft, *snapshot);
    // Each its own pieces: a prompt beside single tokens, and a tentative segment.
    const std::vector<Ids> one = {{5}, part(ids, 140, 50), {7}, part(ids, 200, 4)};
    const std::vector<Ids> two = {part(ids, 150, 33), {6}, {8}, {9}};
    std::vector<Logits> ones, twos;
    for (size_t step = 0; step < one.size(); ++step) {
      const bool tentative = step == 3;
      std::vector<Segment> both = {segment(*real, one[step], Rows::all, tentative), segment(*draft, two[step])};
      backend->run(both);
      ones.push_back(rows_of(*backend, *real));
      twos.push_back(rows_of(*backend, *draft));
      if (tentative) backend->commit(*real, 3);
    }
    EXPECT_TRUE(bytes_of(*snapshot) == before);
    backend->restore(*alone, *snapshot);
    for (size_t step = 0; step < one.size(); ++step) {
      run_one(*backend, *alone, one[step], Rows::all, step == 3);
      EXPECT_EQ(rows_of(*backend, *alone), ones[step]) << "step " << step;
      if (step == 3) backend->commit(*alone, 3);
    }
    EXPECT_TRUE(bytes_of(*backend, *alone) == bytes_of(*backend, *real));
    backend->restore(*alone, *snapshot);
    for (size_t step = 0; step < two.size(); ++step)
      EXPECT_EQ(prefill(*backend, *alone, two[step]), twos[step]) << "step " << step;
    EXPECT_TRUE(bytes_of(*backend, *alone) == bytes_of(*backend, *draft));
    EXPECT_TRUE(bytes_of(*snapshot) == before);
  }
}

TEST_P(BackendTest, SnapshotsOutliveTheirBackend) {
  const std::string model = "tiny-mlx-4bit";
  auto old = make(model, 2, 64);
  const Ids ids = random_ids(old->config(), 160, 45);
  auto state = old->new_state(300);
  (void)prefill(*old, *state, first(ids, 140), Rows::none);
  auto snapshot = old->snapshot(*state);
  const StateBytes bytes = bytes_of(*snapshot);
  std::vector<backend::SnapshotPart> parts = snapshot->parts();
  const Logits expected = decode(*old, *state, part(ids, 140, 5));
  const StateBytes then = bytes_of(*old, *state);
  const std::string layout(old->snapshot_layout());
  old.reset();
  state.reset();  // frees itself, with nobody to ask

  EXPECT_TRUE(bytes_of(*snapshot) == bytes);
  const auto fresh = make(model, 1, 128);
  EXPECT_EQ(fresh->snapshot_layout(), layout);
  const auto other = fresh->new_state(200);
  fresh->restore(*other, *snapshot);
  EXPECT_EQ(decode(*fresh, *other, part(ids, 140, 5)), expected);
  EXPECT_TRUE(bytes_of(*fresh, *other) == then);
  EXPECT_TRUE(bytes_of(*snapshot) == bytes);

  // Through a file: by name, without the snapshot that they came from.
  snapshot.reset();
  fresh->reset(*other);
  const auto find = [&](const std::string& name) {
    const auto found = bytes.find(name);
    return found == bytes.end() ? std::span<const std::byte>{} : std::span<const std::byte>(found->second);
  };
  const auto read = fresh->read_snapshot(140, find, nullptr);
  EXPECT_EQ(read->position(), 140);
  fresh->restore(*other, *read);
  EXPECT_EQ(decode(*fresh, *other, part(ids, 140, 5)), expected);
  for (const backend::SnapshotPart& part : parts)
    EXPECT_TRUE(std::ranges::equal(part.bytes, bytes.at(part.name))) << part.name << " lives as long as its owner";
}

TEST_P(BackendTest, SnapshotsWithPartsThatDoNotFitAreRefused) {
  const auto backend = make("tiny-mlx-4bit");
  const auto state = backend->new_state(300);
  (void)prefill(*backend, *state, random_ids(backend->config(), 140, 46), Rows::none);
  const StateBytes whole = bytes_of(*backend, *state);
  for (const auto& [name, bytes] : whole) {
    for (const size_t size : {size_t{0}, bytes.size() - 1, bytes.size() + 4}) {
      StateBytes wrong = whole;
      wrong[name].resize(size);
      const auto find = [&](const std::string& part) {
        const auto found = wrong.find(part);
        return found == wrong.end() ? std::span<const std::byte>{} : std::span<const std::byte>(found->second);
      };
      EXPECT_EQ(error_code([&] { (void)backend->read_snapshot(140, find, nullptr); }), ErrorCode::bad_session)
          << name << " of " << size;
    }
  }
}

}  // namespace
}  // namespace prosa::test
