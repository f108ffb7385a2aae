// The scheduler on a fake backend: what stands together in a step, in which order prompts get on, and that whoever is
// cancelled or fails disturbs nobody. No test looks at a clock; a gate holds the first step until all others wait.
#include "runtime/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "fake_backend.h"

namespace prosa::runtime {
namespace {

using backend::Rows;
using test::FakeBackend;
using testing::ElementsAre;

constexpr int64_t kUnit = 32;
constexpr int64_t kStepRows = 128;

class SchedulerTest : public testing::Test {
 protected:
  /// A work of its own thread, with its state.
  struct Caller {
    std::unique_ptr<backend::State> state;
    std::vector<int32_t> tokens;
    Work work;
    Stream stream;
    bool fed = false;
    std::optional<ErrorCode> error;
  };
  /// Of one step: tokens by caller.
  using Step = std::map<const backend::State*, int64_t>;

  void SetUp() override {
    fake->unit = kUnit;
    fake->rows = kStepRows;
    fake->on_run = [this](std::span<const backend::Segment> segments) {
      Step step;
      for (const backend::Segment& segment : segments) step[segment.state] += std::ssize(segment.tokens);
      std::unique_lock lock(mutex);
      steps.push_back(std::move(step));
      opened.wait(lock, [this] { return open; });
    };
  }
  Caller& add(int64_t tokens, Priority priority = Priority::prefill, Rows rows = Rows::last) {
    callers.push_back(std::make_unique<Caller>());
    Caller& caller = *callers.back();
    caller.state = fake->new_state(10'000);
    caller.tokens.assign(static_cast<size_t>(tokens), 7);
    caller.work.state = caller.state.get();
    caller.work.tokens = caller.tokens;
    caller.work.rows = rows;
    caller.work.priority = priority;
    if (tokens == 1) caller.work.stream = &caller.stream;
    return caller;
  }
  void start(Caller& caller) {
    threads.emplace_back([this, &caller] {
      try {
        caller.fed = scheduler.run(caller.work);
      } catch (const Error& error) {
        caller.error = error.code();
      }
    });
  }
  /// The first caller leads a step that lasts until all the others wait; then everything goes on by itself.
  void run_all() {
    for (auto& caller : callers) {
      start(*caller);
      while (scheduler.counts().waiting < std::ssize(threads) || (threads.size() == 1 && steps_so_far() == 0))
        std::this_thread::yield();
    }
    release();
    threads.clear();
  }
  void release() {
    const std::lock_guard lock(mutex);
    open = true;
    opened.notify_all();
  }
  size_t steps_so_far() {
    const std::lock_guard lock(mutex);
    return steps.size();
  }
  std::vector<int64_t> of(const Caller& caller) const {
    std::vector<int64_t> tokens;
    for (const Step& step : steps) {
      const auto slice = step.find(caller.state.get());
      if (slice != step.end()) tokens.push_back(slice->second);
    }
    return tokens;
  }
  size_t last_step_of(const Caller& caller) const {
    size_t last = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].contains(caller.state.get())) last = i;
    }
    return last;
  }

  std::shared_ptr<FakeBackend> fake = std::make_shared<FakeBackend>(16);
  Scheduler scheduler{*fake};
  std::vector<std::unique_ptr<Caller>> callers;
  std::mutex mutex;  // guards what follows
  std::condition_variable opened;
  bool open = false;
  std::vector<Step> steps;
  std::vector<std::jthread> threads;  // last: they use all of the above
};

TEST_F(SchedulerTest, ALoneWorkIsCutIntoStepsOnItsOwnThread) {
  open = true;
  Caller& lone = add(300);
  const std::thread::id mine = std::this_thread::get_id();
  std::thread::id computed;
  fake->on_run = [&, record = fake->on_run](std::span<const backend::Segment> segments) {
    computed = std::this_thread::get_id();
    record(segments);
  };
  EXPECT_TRUE(scheduler.run(lone.work));
  EXPECT_EQ(computed, mine);
  EXPECT_THAT(of(lone), ElementsAre(128, 128, 44));
  EXPECT_EQ(lone.state->position(), 300);
  EXPECT_EQ(lone.state->rows(), 1);
}

TEST_F(SchedulerTest, WorksOfOneCallerShareStepsAndEndTogether) {
  open = true;
  std::vector<Work> works;
  for (const int64_t tokens : {5, 7, 1}) {
    Caller& each = add(tokens, Priority::prefill, Rows::all);
    each.work.tentative = true;
    each.work.stream = nullptr;
    works.push_back(each.work);
  }
  EXPECT_TRUE(scheduler.run(works));
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].size(), 3U);
  EXPECT_EQ(callers[1]->state->pending(), 7);
  EXPECT_EQ(scheduler.counts().waiting, 0);

  for (const auto& caller : callers) fake->discard(*caller->state);
  std::atomic<bool> cancelled = true;
  works[1].cancel = Cancel(&cancelled);
  EXPECT_FALSE(scheduler.run(works)) << "one was cancelled";
  EXPECT_EQ(callers[2]->state->pending(), 1) << "the others were fed";

  const std::vector<int32_t> unknown = {99};
  for (const auto& caller : callers) fake->discard(*caller->state);
  works[0].tokens = unknown;
  EXPECT_THROW(scheduler.run(works), Error);
  EXPECT_EQ(scheduler.counts().waiting, 0);
}

TEST_F(SchedulerTest, StreamsThatWaitShareAStep) {
  add(1);
  for (int i = 0; i < 9; ++i) add(1);
  run_all();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].size(), 1U);
  EXPECT_EQ(steps[1].size(), 9U);
  for (const auto& caller : callers) EXPECT_TRUE(caller->fed);
}

TEST_F(SchedulerTest, MoreStreamsThanAStepHoldsTakeTurns) {
  for (int i = 0; i < 301; ++i) add(1);
  run_all();
  ASSERT_EQ(steps.size(), 4U);
  EXPECT_EQ(steps[1].size(), 128U);
  EXPECT_EQ(steps[2].size(), 128U);
  EXPECT_EQ(steps[3].size(), 44U);
}

TEST_F(SchedulerTest, PromptsFillTheStepsOfStreamsInWholeUnits) {
  add(1);
  Caller& stream = add(1);
  Caller& prompt = add(333);
  run_all();
  EXPECT_TRUE(steps[1].contains(stream.state.get()));
  EXPECT_TRUE(steps[1].contains(prompt.state.get()));
  EXPECT_EQ(steps[1].at(prompt.state.get()), kUnit) << "the first step of both is careful";
  const std::vector<int64_t> slices = of(prompt);
  EXPECT_EQ(std::accumulate(slices.begin(), slices.end(), int64_t{0}), 333);
  for (size_t i = 0; i + 1 < slices.size(); ++i) EXPECT_EQ(slices[i] % kUnit, 0);
}

TEST_F(SchedulerTest, EqualPromptsGetOnTogether) {
  add(kUnit);
  Caller& one = add(640);
  Caller& other = add(640);
  run_all();
  for (size_t i = 1; i < steps.size(); ++i) {
    int64_t sum = 0;
    for (const auto& [state, tokens] : steps[i]) sum += tokens;
    EXPECT_LE(sum, kStepRows);
  }
  EXPECT_THAT(of(one), testing::Each(64));
  EXPECT_THAT(of(other), testing::Each(64));
}

TEST_F(SchedulerTest, ATurnComesBeforeReadingAheadWhichDoesNotStarve) {
  add(1);
  Caller& ahead = add(96, Priority::background);
  Caller& turn = add(3200, Priority::turn);
  run_all();
  EXPECT_LT(last_step_of(ahead), last_step_of(turn)) << "passed over for a while, not for ever";
  size_t first = 0;
  while (!steps[first].contains(ahead.state.get())) ++first;
  EXPECT_GE(first, 8U);
  EXPECT_LE(first, 12U);
}

TEST_F(SchedulerTest, WhatMustStayWholeIsNotCut) {
  add(1);
  Caller& rows = add(100, Priority::prefill, Rows::all);
  Caller& prompt = add(500);
  for (int i = 0; i < 40; ++i) add(1);
  run_all();
  EXPECT_THAT(of(rows), ElementsAre(100));
  EXPECT_EQ(rows.state->rows(), 100);
  EXPECT_TRUE(prompt.fed);
}

TEST_F(SchedulerTest, ACancelledWorkIsLeftOutAndTheOthersGoOn) {
  std::atomic<bool> cancel = false;
  add(1);
  Caller& prompt = add(1000);
  prompt.work.cancel = Cancel(&cancel);
  Caller& other = add(1000);
  for (auto& caller : callers) {
    start(*caller);
    while (scheduler.counts().waiting < std::ssize(threads) || (threads.size() == 1 && steps_so_far() == 0))
      std::this_thread::yield();
  }
  cancel = true;
  release();
  threads.clear();
  EXPECT_FALSE(prompt.fed);
  EXPECT_FALSE(prompt.error.has_value());
  EXPECT_TRUE(of(prompt).empty());
  EXPECT_TRUE(other.fed);
  EXPECT_EQ(other.state->position(), 1000);
}

TEST_F(SchedulerTest, ADeadlineThatHasPassedIsACancel) {
  open = true;
  Caller& late = add(1000);
  late.work.cancel = Cancel(nullptr, Cancel::Clock::now() - std::chrono::seconds(1));
  EXPECT_FALSE(scheduler.run(late.work));
  EXPECT_TRUE(steps.empty());
}

TEST_F(SchedulerTest, AnErrorIsTheErrorOfItsOwnWork) {
  add(1);
  Caller& full = add(2);
  full.state = fake->new_state(1);
  full.work.state = full.state.get();
  Caller& good = add(1);
  run_all();
  EXPECT_EQ(full.error, ErrorCode::context_exceeded);
  EXPECT_FALSE(good.error.has_value());
  EXPECT_TRUE(good.fed);
  EXPECT_EQ(good.state->position(), 1) << "fed once, not twice";
}

TEST_F(SchedulerTest, StreamsOfManyThreadsFeedEveryTokenOnce) {
  open = true;
  constexpr int kThreads = 6;
  constexpr int kTokens = 300;
  for (int i = 0; i < kThreads; ++i) {
    Caller& caller = add(1);
    threads.emplace_back([&] {
      for (int token = 0; token < kTokens; ++token) {
        const std::vector<int32_t> next{token % 16};
        caller.work.tokens = next;
        ASSERT_TRUE(scheduler.run(caller.work));
        ASSERT_EQ(caller.state->position(), token + 1);
      }
      scheduler.leave(caller.stream);
    });
  }
  threads.clear();
  const Scheduler::Counts counts = scheduler.counts();
  EXPECT_EQ(counts.tokens, kThreads * kTokens);
  EXPECT_EQ(counts.segments, kThreads * kTokens);
  EXPECT_EQ(counts.waiting, 0);
}

TEST_F(SchedulerTest, WhoHasJustBeenServedIsWaitedFor) {
  // Two streams whose owners think between tokens: without waiting each would have every step alone.
  fake->on_run = [&](std::span<const backend::Segment> segments) {
    std::this_thread::sleep_for(std::chrono::milliseconds(4));
    const std::lock_guard lock(mutex);
    steps.emplace_back();
    for (const backend::Segment& segment : segments) steps.back()[segment.state] = 1;
  };
  for (int i = 0; i < 2; ++i) {
    Caller& caller = add(1);
    threads.emplace_back([&] {
      for (int token = 0; token < 40; ++token) ASSERT_TRUE(scheduler.run(caller.work));
      scheduler.leave(caller.stream);
    });
  }
  threads.clear();
  EXPECT_LT(steps.size(), 70U) << "of 80 tokens";
}

}  // namespace
}  // namespace prosa::runtime
