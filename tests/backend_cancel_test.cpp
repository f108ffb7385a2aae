// Cancelled segments, for every backend and instruction set of this machine: a lone one ends at once and leaves a state
// that reset() and restore() make usable; among others it ends early and changes no bit of theirs.
//
// Times are held against those of a whole run on the same machine. Whoever wants to be sure that something is cancelled
// in the middle tries until it was; what a call says it has done is checked every time.
#include <atomic>
#include <chrono>
#include <thread>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

using Clock = std::chrono::steady_clock;

Segment cancellable(State& state, std::span<const int32_t> ids, const std::atomic<bool>& flag, Rows rows = Rows::last) {
  Segment made = segment(state, ids, rows);
  made.cancel = Cancel(&flag);
  return made;
}

TEST_P(BackendTest, CancelledStatesResetAndRestore) {
  const auto backend = make("tiny-mlx-4bit", 2, 32);
  const Ids ids = random_ids(backend->config(), 150, 43);
  const auto state = backend->new_state(300);
  const Logits expected = prefill(*backend, *state, ids);
  backend->reset(*state);
  (void)prefill(*backend, *state, first(ids, 50));
  const auto snapshot = backend->snapshot(*state);
  const StateBytes bytes = bytes_of(*snapshot);
  const Logits continued = decode(*backend, *state, first(ids, 3));

  const std::atomic<bool> flag = true;
  for (const bool restored : {false, true}) {
    for (const bool by_deadline : {false, true}) {
      for (const bool tentative : {false, true}) {
        SCOPED_TRACE(std::string(restored ? "restored" : "reset") + (by_deadline ? ", deadline" : ", flag"));
        Segment one = cancellable(*state, tentative ? std::span(ids).first(9) : std::span(ids), flag, Rows::all);
        if (by_deadline) one.cancel = Cancel(nullptr, Clock::now());
        one.tentative = tentative;
        backend->run({&one, 1});
        EXPECT_TRUE(one.cancelled);
        EXPECT_FALSE(state->valid());
        EXPECT_EQ(state->rows(), 0);
        EXPECT_EQ(state->pending(), 0);
        std::vector<Segment> next = {segment(*state, std::span(ids).first(1))};
        EXPECT_EQ(error_code([&] { backend->run(next); }), ErrorCode::invalid_argument) << "it is refused";
        EXPECT_EQ(error_code([&] { (void)backend->snapshot(*state); }), ErrorCode::invalid_argument);
        if (restored)
          backend->restore(*state, *snapshot);
        else
          backend->reset(*state);
        EXPECT_TRUE(state->valid());
        EXPECT_EQ(state->position(), restored ? 50 : 0);
        if (restored)
          EXPECT_EQ(decode(*backend, *state, first(ids, 3)), continued);
        else
          EXPECT_EQ(prefill(*backend, *state, ids), expected);
        EXPECT_TRUE(bytes_of(*snapshot) == bytes);
      }
    }
  }
}

TEST_P(BackendTest, CancellingAtAnyMomentIsAllOrNothing) {
  const auto backend = make("tiny-mlx-4bit", 3, 32);
  const Ids ids = random_ids(backend->config(), 150, 44);
  const auto state = backend->new_state(200);
  const auto start = Clock::now();
  const Logits expected = prefill(*backend, *state, ids, Rows::last);
  const auto whole = Clock::now() - start;
  std::mt19937 random(45);
  for (int i = 0; i < 12; ++i) {
    backend->reset(*state);
    std::atomic<bool> flag = false;
    std::thread asker([&, wait = whole * (random() % 1100) / 1000] {
      std::this_thread::sleep_for(wait);
      flag = true;
    });
    Segment one = cancellable(*state, ids, flag);
    backend->run({&one, 1});
    asker.join();
    EXPECT_EQ(state->valid(), !one.cancelled);
    if (!one.cancelled) {
      EXPECT_EQ(rows_of(*backend, *state), expected) << "nothing of a pass that says it is whole was skipped";
    }
  }
}

// A pass holds the whole prompt, so that only a look inside of it ends it early. The best of some tries: other
// processes may stop this one at any time.
TEST_P(BackendTest, ALoneSegmentEndsAtOnce) {
  const auto backend = make("tiny-mlx-4bit", 2, 1024);
  const Ids ids = random_ids(backend->config(), is_reference() ? 256 : 1024, 46);
  const auto state = backend->new_state(1024);
  const auto start = Clock::now();
  (void)prefill(*backend, *state, ids, Rows::none);
  const auto whole = Clock::now() - start;
  for (const bool by_deadline : {false, true}) {
    auto best = Clock::duration::max();  // from the wish to the end
    for (int i = 0; i < 20 && best > whole / 3; ++i) {
      backend->reset(*state);
      std::atomic<bool> flag = false;
      std::atomic<Clock::time_point> asked = Clock::now() + whole / 4;
      std::thread asker([&, wake = asked.load()] {
        if (by_deadline) return;
        std::this_thread::sleep_until(wake);
        asked = Clock::now();
        flag = true;
      });
      Segment one = segment(*state, ids, Rows::none);
      one.cancel = by_deadline ? Cancel(nullptr, asked.load()) : Cancel(&flag);
      backend->run({&one, 1});
      const auto end = Clock::now();
      asker.join();
      if (one.cancelled) best = std::min(best, end - asked.load());
    }
    EXPECT_LE(best, whole / 3) << (by_deadline ? "deadline" : "flag");
  }
}

TEST_P(BackendTest, OneOfSeveralCancelledLeavesTheOthers) {
  const auto backend = make("tiny-mlx-4bit", 3, 32);
  const Ids ids = random_ids(backend->config(), 150, 47);
  const auto gone = backend->new_state(200), prompt = backend->new_state(200), single = backend->new_state(200),
             tentative = backend->new_state(200), alone = backend->new_state(200);
  const auto lone_rows = [&](size_t count, bool tries) {
    backend->reset(*alone);
    run_one(*backend, *alone, std::span(ids).first(count), Rows::all, tries);
    return rows_of(*backend, *alone);
  };
  const std::vector<Logits> expected = {lone_rows(70, false), lone_rows(1, false), lone_rows(6, true)};
  std::atomic<bool> flag = true;
  for (int place = 0; place < 4; ++place) {
    SCOPED_TRACE("the cancelled one stands at " + std::to_string(place));
    for (State* state : {gone.get(), prompt.get(), single.get(), tentative.get()}) backend->reset(*state);
    std::vector<Segment> segments = {segment(*prompt, std::span(ids).first(70)), segment(*single, first(ids, 1)),
                                     segment(*tentative, std::span(ids).first(6), Rows::all, true)};
    const Ids one = first(ids, 1);
    segments[1].tokens = one;
    segments.insert(segments.begin() + place, cancellable(*gone, ids, flag));
    for (Segment& each : segments) each.cancelled = true;  // is an output
    backend->run(segments);
    for (const Segment& each : segments) EXPECT_EQ(each.cancelled, each.state == gone.get());
    EXPECT_FALSE(gone->valid());
    EXPECT_EQ(rows_of(*backend, *prompt), expected[0]);
    EXPECT_EQ(rows_of(*backend, *single), expected[1]);
    EXPECT_EQ(rows_of(*backend, *tentative), expected[2]);
    EXPECT_EQ(tentative->pending(), 6);
    backend->reset(*gone);
    flag = false;
    EXPECT_EQ(prefill(*backend, *gone, std::span(ids).first(70)), expected[0]);
    flag = true;
  }
}

// In long contexts, where a cancel that comes between two passes leaves attention's work cut up in another way than
// when the call began.
TEST_P(BackendTest, CancellingOneAtAnyMomentLeavesTheOthers) {
  if (is_reference()) GTEST_SKIP() << "its segments run one after the other";
  const auto backend = make("tiny-mlx-4bit", 3, 64), lone = make("tiny-mlx-4bit", 1, 64);
  const Ids ids = random_ids(backend->config(), 600, 48);
  const auto alone = lone->new_state(900);
  (void)prefill(*lone, *alone, first(ids, 530), Rows::none);
  const auto snapshot = lone->snapshot(*alone);
  const auto start = Clock::now();
  const Logits expected = prefill(*lone, *alone, first(ids, 150));
  const auto whole = 2 * (Clock::now() - start);
  const StateBytes bytes = bytes_of(*lone, *alone);
  const auto gone = backend->new_state(900), other = backend->new_state(900);
  std::mt19937 random(49);
  for (int i = 0; i < 12; ++i) {
    backend->restore(*gone, *snapshot);
    backend->restore(*other, *snapshot);
    std::atomic<bool> flag = false;
    std::vector<Segment> both = {cancellable(*gone, std::span(ids).first(100), flag, Rows::all),
                                 segment(*other, std::span(ids).first(150))};
    if (i % 2 == 0) std::swap(both[0], both[1]);
    std::thread asker([&, wait = whole * (random() % 1000) / 1000, at_once = i < 4] {
      if (!at_once) std::this_thread::sleep_for(wait);
      flag = true;
    });
    if (i < 4) asker.join();
    backend->run(both);
    if (i >= 4) asker.join();
    for (const Segment& each : both) EXPECT_EQ(each.cancelled, !each.state->valid());
    EXPECT_TRUE(other->valid());
    if (gone->valid()) {
      const Logits rows = first_rows(*backend, rows_of(*backend, *gone), 96);  // whole chunks of both
      EXPECT_EQ(rows, first_rows(*backend, expected, 96)) << "nothing was skipped";
    }
    ASSERT_EQ(rows_of(*backend, *other), expected) << "try " << i;
    ASSERT_TRUE(bytes_of(*backend, *other) == bytes) << "try " << i;
  }
}

}  // namespace
}  // namespace prosa::test
