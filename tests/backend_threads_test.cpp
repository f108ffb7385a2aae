// Threads, for every backend and instruction set of this machine: while run() works on some states, others may do
// anything with other states, also with ones that share memory with those; everybody gets what he gets alone.
//
// Small, so that the thread sanitizer can watch it. Invariant: no two threads have the same state at a time.
#include <array>
#include <atomic>
#include <mutex>
#include <thread>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

constexpr size_t kDepth = 125;  // of the snapshot that all begin at: its last block is written while others read it
constexpr int kRounds = 6;

/// The snapshot that all share, and what it leads to.
struct Shared {
  std::unique_ptr<Snapshot> snapshot;
  StateBytes bytes;
  Ids ids;
  std::vector<StateBytes> committed;  // [n]: after n of ids, one by one
  Logits rows;                        // of `ids`
};

Shared make_shared_part(Backend& backend) {
  Shared shared;
  shared.ids = random_ids(backend.config(), 6, 91);
  const auto state = backend.new_state(400);
  (void)prefill(backend, *state, random_ids(backend.config(), kDepth, 92), Rows::none);
  shared.snapshot = backend.snapshot(*state);
  shared.bytes = bytes_of(*shared.snapshot);
  shared.committed.push_back(shared.bytes);
  for (const int32_t id : shared.ids) {
    append(shared.rows, decode(backend, *state, Ids{id}));
    shared.committed.push_back(bytes_of(backend, *state));
  }
  return shared;
}

/// Rounds of a prompt, a single token and a tentative segment in one call, all from the shared snapshot.
class Runner {
 public:
  Runner(Backend& backend, const Snapshot& from) : backend_(backend) {
    for (auto& state : states_) {
      state = backend.new_state(400);
      backend.restore(*state, from);
    }
  }

  Logits round(int index) {
    const Ids ids = random_ids(backend_.config(), 40, 100 + static_cast<unsigned>(index));
    const std::span<const int32_t> all(ids);
    std::vector<Segment> segments = {segment(*states_[0], all.first(30)), segment(*states_[1], all.first(1)),
                                     segment(*states_[2], all.first(5), Rows::all, true)};
    backend_.run(segments);
    Logits rows;
    for (const auto& state : states_) append(rows, rows_of(backend_, *state));
    backend_.commit(*states_[2], index % 6);
    return rows;
  }
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const { return backend_.snapshot(*states_[0]); }
  /// For what may be asked from any thread.
  [[nodiscard]] const State& state() const { return *states_[0]; }

 private:
  Backend& backend_;
  std::array<std::unique_ptr<State>, 3> states_;
};

/// What a thread that does not run does with states of its own. Made before the threads start: its states have rows and
/// pending tokens.
class Bystander {
 public:
  Bystander(Backend& backend, const Shared& shared) : backend_(backend), shared_(shared) {
    for (auto& state : pending_) {
      state = backend.new_state(300);
      backend.restore(*state, *shared.snapshot);
      run_one(backend, *state, shared.ids, Rows::all, true);
    }
  }

  void commit(size_t n) {
    State& state = *pending_[n];
    ask(state);
    backend_.commit(state, static_cast<int64_t>(n));
    EXPECT_TRUE(bytes_of(backend_, state) == shared_.committed[n]) << "commit of " << n;
    if (n % 2 == 0) pending_[n].reset();  // what it shares goes with the last who holds it
  }

  void keep_and_come_back() {
    const auto state = backend_.new_state(300);
    EXPECT_EQ(state->position(), 0);
    backend_.restore(*state, *shared_.snapshot);
    const auto mine = backend_.snapshot(*state);
    EXPECT_TRUE(bytes_of(*mine) == shared_.bytes);
    backend_.reset(*state);
    backend_.restore(*state, *mine);
    EXPECT_TRUE(bytes_of(backend_, *state) == shared_.bytes);
    backend_.set_row(*state, first_rows(backend_, shared_.rows, 1));
    EXPECT_EQ(state->rows(), 1);
    EXPECT_GT(backend_.memory().weights, 0);
  }

  /// A snapshot of a state that goes on running, and shares memory with this one.
  void visit(const Snapshot& running) {
    const StateBytes before = bytes_of(running);
    const auto state = backend_.new_state(400);
    backend_.restore(*state, running);
    EXPECT_TRUE(bytes_of(backend_, *state) == before);
    EXPECT_TRUE(bytes_of(running) == before);
  }

 private:
  void ask(const State& state) {
    EXPECT_EQ(rows_of(backend_, state), shared_.rows);
    const backend::RowPick question{&state, 2, {.changes = {}, .allowed = {}, .k = 5, .log_sum = true}};
    backend::Candidates answer;
    backend_.candidates({&question, 1}, {&answer, 1});
    ASSERT_EQ(answer.best.size(), 5U);
    const auto vocab = static_cast<size_t>(backend_.config().vocab_size);
    EXPECT_EQ(answer.best.front().id, static_cast<int32_t>(argmax(std::span(shared_.rows).subspan(2 * vocab, vocab))));
  }

  Backend& backend_;
  const Shared& shared_;
  std::array<std::unique_ptr<State>, 7> pending_;  // [n]: of which n tokens are kept
};

TEST_P(BackendTest, OthersMayDoAnythingWithOtherStatesWhileOneRuns) {
  const auto backend = make("tiny-mlx-4bit", 2, 32);
  const Shared shared = make_shared_part(*backend);
  std::vector<Logits> expected;
  {
    Runner alone(*backend, *shared.snapshot);
    for (int round = 0; round < kRounds; ++round) expected.push_back(alone.round(round));
  }
  std::vector<std::unique_ptr<Bystander>> bystanders;
  for (int i = 0; i < 3; ++i) bystanders.push_back(std::make_unique<Bystander>(*backend, shared));
  Runner runner(*backend, *shared.snapshot);

  std::mutex mutex;
  std::shared_ptr<const Snapshot> latest;  // of a running state; guarded by mutex
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (auto& bystander : bystanders) {
    threads.emplace_back([&] {
      for (size_t turn = 0; turn < 7 || !over; ++turn) {
        if (turn < 7) bystander->commit(turn);
        bystander->keep_and_come_back();
        std::shared_ptr<const Snapshot> running;
        {
          const std::lock_guard lock(mutex);
          running = latest;
        }
        if (running) bystander->visit(*running);
        EXPECT_GT(runner.state().byte_size() + runner.state().row_bytes(), 0);
      }
      bystander.reset();
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_EQ(runner.round(round), expected[static_cast<size_t>(round)]) << "round " << round;
    std::shared_ptr<const Snapshot> next = runner.snapshot();
    const std::lock_guard lock(mutex);
    latest.swap(next);
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(bytes_of(*shared.snapshot) == shared.bytes);
}

// Flags pass at any time, and the state of a cancelled segment is another thread's as soon as the call is over.
TEST_P(BackendTest, CancelledFromAnotherThreadWhileOthersKeepStates) {
  const auto backend = make("tiny-mlx-4bit", 2, 32);
  const Shared shared = make_shared_part(*backend);
  const auto state = backend->new_state(400), other = backend->new_state(400);
  const Ids ids = random_ids(backend->config(), 90, 93);
  for (int round = 0; round < 4; ++round) {
    backend->restore(*state, *shared.snapshot);
    backend->restore(*other, *shared.snapshot);
    std::atomic<bool> flag = false;
    std::thread asker([&] {
      for (int i = 0; i < round; ++i) EXPECT_TRUE(bytes_of(*shared.snapshot) == shared.bytes);
      flag = true;
    });
    std::vector<Segment> both = {segment(*state, ids), segment(*other, std::span(shared.ids).first(1))};
    both[0].cancel = Cancel(&flag);
    backend->run(both);
    asker.join();
    EXPECT_EQ(state->valid(), !both[0].cancelled);
    EXPECT_EQ(rows_of(*backend, *other), first_rows(*backend, shared.rows, 1));
    EXPECT_TRUE(bytes_of(*backend, *other) == shared.committed[1]);
  }
}

}  // namespace
}  // namespace prosa::test
