// Leading, gathering, forming steps.
#include "runtime/scheduler.h"

#include <algorithm>
#include <deque>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::runtime {
namespace {

using Clock = std::chrono::steady_clock;

// How long a step waits for the streams of the last one: a share of what that took, and never long.
constexpr int kGatherShare = 8;
constexpr Clock::duration kMaxGather = std::chrono::milliseconds(6);
// How long a stream counts as live after a token: its owner may take that long over one.
constexpr Clock::duration kStreamLife = std::chrono::seconds(1);
// Steps that a prompt may be passed over before it is served ahead of others.
constexpr int kMaxPassedOver = 8;

}  // namespace

struct Scheduler::Item {
  const Work& work;
  int64_t done = 0;     // tokens fed
  int64_t deficit = 0;  // tokens that its turns in the round have earned
  int passed_over = 0;  // steps since it was last served
  bool finished = false;
  bool cancelled = false;
  std::exception_ptr failure = {};
  std::condition_variable changed = {};

  explicit Item(const Work& asked) : work(asked) {}
  [[nodiscard]] int64_t left() const { return static_cast<int64_t>(work.tokens.size()) - done; }
  /// In every step: nothing of it may wait.
  [[nodiscard]] bool streams() const { return work.tokens.size() == 1 || work.tentative; }
  [[nodiscard]] bool whole() const { return work.rows == backend::Rows::all; }
};

Scheduler::~Scheduler() { PROSA_CHECK(waiting_.empty()); }

bool Scheduler::run(std::span<const Work> works) {
  std::deque<Item> items;  // they stay where they are
  for (const Work& work : works) {
    PROSA_CHECK(work.state != nullptr && !work.tokens.empty());
    PROSA_CHECK(work.rows != backend::Rows::all || static_cast<int64_t>(work.tokens.size()) <= backend_.step_rows());
    items.emplace_back(work);
  }
  Lock lock(mutex_);
  if (waiting_.size() + items.size() > kMaxWaiting) {
    throw Error(ErrorCode::busy, fmt::format("{} conversations wait for the model", waiting_.size()), "model",
                "try again later");
  }
  waiting_.reserve(waiting_.size() + items.size());
  for (Item& item : items) {
    Stream* const stream = item.work.stream;
    if (stream != nullptr && std::exchange(stream->expected_, false)) std::erase(expected_, stream);
    waiting_.push_back(&item);
  }
  if (led_) arrived_.notify_one();
  for (Item& item : items) wait_for(lock, item);
  bool fed = true;
  for (const Item& item : items) {
    if (item.failure) std::rethrow_exception(item.failure);
    fed = fed && !item.cancelled;
  }
  return fed;
}

/// Until the item is finished; leads when nobody else does.
void Scheduler::wait_for(Lock& lock, Item& item) {
  while (!item.finished) {
    if (led_) {
      item.changed.wait(lock);
      continue;
    }
    led_ = true;
    try {
      lead(lock, item);
    } catch (...) {  // no memory to form a step: others may have better luck
      item.failure = std::current_exception();
      if (!item.finished) finish(item);
    }
    led_ = false;
    if (!waiting_.empty()) waiting_.front()->changed.notify_one();
  }
}

void Scheduler::leave(Stream& stream) {
  const Lock lock(mutex_);
  if (std::exchange(stream.open_, false)) std::erase(open_, &stream);
  if (!std::exchange(stream.expected_, false)) return;
  std::erase(expected_, &stream);
  if (led_) arrived_.notify_one();
}

Scheduler::Counts Scheduler::counts() const {
  const Lock lock(mutex_);
  Counts counts = counts_;
  counts.waiting = std::ssize(waiting_);
  return counts;
}

void Scheduler::finish(Item& item) {
  item.finished = true;
  std::erase(waiting_, &item);
  if (Stream* const stream = item.work.stream; stream != nullptr && !item.cancelled && !item.failure) {
    stream->served_ = Clock::now();
    try {
      expected_.push_back(stream);
      stream->expected_ = true;
      if (!stream->open_) open_.push_back(stream);
      stream->open_ = true;
    } catch (const std::bad_alloc&) {  // its next token is not waited for
    }
  }
  item.changed.notify_one();
}

/// Steps, until `own` is finished.
void Scheduler::lead(Lock& lock, const Item& own) {
  while (!own.finished) {
    gather(lock);
    drop_cancelled();
    if (own.finished) return;
    compute(lock, form_step());
  }
}

/// Waits a moment for streams that were served lately: their owners choose the next token now. Who does not come is
/// not waited for again until it has.
void Scheduler::gather(Lock& lock) {
  if (expected_.empty()) return;
  const auto until = Clock::now() + std::min<Clock::duration>(step_took_ / kGatherShare, kMaxGather);
  arrived_.wait_until(lock, until, [this] { return expected_.empty(); });
  for (Stream* stream : expected_) stream->expected_ = false;
  expected_.clear();
}

bool Scheduler::streams_live() const {
  const Clock::time_point since = Clock::now() - kStreamLife;
  return std::ranges::any_of(open_, [&](const Stream* stream) { return stream->served_ >= since; });
}

void Scheduler::drop_cancelled() {
  for (size_t i = waiting_.size(); i-- > 0;) {
    Item& item = *waiting_[i];
    if (!item.work.cancel.requested()) continue;
    item.cancelled = true;
    finish(item);
  }
}

std::vector<Scheduler::Slice> Scheduler::form_step() {
  std::vector<Slice> step;
  const int64_t rows = backend_.step_rows();
  const bool prompts = std::ranges::any_of(waiting_, [](const Item* item) { return !item->streams(); });
  int64_t room = prompts ? rows - backend_.slice_unit() : rows;  // of the streams: a prompt always gets on
  bool full = false;
  for (Item* item : waiting_) {
    if (!item->streams()) continue;
    if (item->left() > room && !step.empty()) {
      full = true;
      continue;
    }
    step.push_back({item, item->left()});
    room -= item->left();
  }
  if (full) {  // who was not in this step comes first in the next
    std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Item* item) {
      return std::ranges::none_of(step, [&](const Slice& slice) { return slice.item == item; });
    });
  }
  if (!prompts) return step;
  room += backend_.slice_unit();
  if (!step.empty() || streams_live()) room = std::min(room, std::max(slice_tokens_, backend_.slice_unit()));
  add_prompts(step, room);
  return step;
}

/// Slices of prompts, about `room` tokens of them: by rank, and within a rank in turns by deficit round robin.
void Scheduler::add_prompts(std::vector<Slice>& step, int64_t room) {
  std::vector<Item*> prompts;
  for (Item* item : waiting_) {
    if (!item->streams()) prompts.push_back(item);
  }
  const auto rank = [](const Item* item) {
    return item->passed_over >= kMaxPassedOver ? -1 : static_cast<int>(item->work.priority);
  };
  std::ranges::stable_sort(prompts, {}, rank);
  std::vector<int64_t> taken(prompts.size());
  for (size_t begin = 0; begin < prompts.size();) {
    size_t end = begin;
    while (end < prompts.size() && rank(prompts[end]) == rank(prompts[begin])) ++end;
    const std::span<Item*> equals = std::span(prompts).subspan(begin, end - begin);
    const bool empty = step.empty() && std::ranges::all_of(taken, [](int64_t tokens) { return tokens == 0; });
    while (take_turns(equals, std::span(taken).subspan(begin, end - begin), room, empty)) {
    }
    begin = end;
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i]->passed_over = taken[i] > 0 ? 0 : prompts[i]->passed_over + 1;
    if (taken[i] > 0) step.push_back({prompts[i], taken[i]});
  }
  // The next round begins with those that this one has not served.
  std::stable_partition(waiting_.begin(), waiting_.end(),
                        [](const Item* item) { return item->streams() || item->passed_over > 0; });
}

/// One round: each earns a unit and takes what it has earned, in whole units or to its end. True: another round may
/// give more. `empty`: the step has nothing else, so that what is longer than the room may go.
bool Scheduler::take_turns(std::span<Item* const> items, std::span<int64_t> taken, int64_t& room, bool empty) const {
  const int64_t unit = backend_.slice_unit();
  bool more = false;
  for (size_t i = 0; i < items.size(); ++i) {
    Item& item = *items[i];
    const int64_t left = item.left() - taken[i];
    if (left == 0) continue;
    const int64_t slice = item.whole() ? left : std::min(left, unit);
    const bool waited = item.passed_over >= kMaxPassedOver && taken[i] == 0;
    const bool first = empty && std::ranges::all_of(taken, [](int64_t tokens) { return tokens == 0; });
    if (slice > room && !waited && !first) continue;
    item.deficit = std::min(item.deficit + unit, slice);
    more = true;
    if (item.deficit < slice) continue;
    item.deficit = 0;
    taken[i] += slice;
    room -= slice;
  }
  return more;
}

void Scheduler::compute(Lock& lock, const std::vector<Slice>& step) {
  PROSA_CHECK(!step.empty());
  std::vector<backend::Segment> segments;
  bool streams = false;
  int64_t prompt_tokens = 0;
  for (const auto& [item, tokens] : step) {
    const Work& work = item->work;
    backend::Segment segment;
    segment.state = work.state;
    segment.tokens = work.tokens.subspan(static_cast<size_t>(item->done), static_cast<size_t>(tokens));
    const bool ends = tokens == item->left();
    segment.rows = ends || item->whole() ? work.rows : backend::Rows::none;
    segment.tentative = work.tentative;
    segment.cancel = work.cancel;
    segments.push_back(segment);
    if (item->streams())
      streams = true;
    else
      prompt_tokens += tokens;
  }
  const auto run = [&](std::span<backend::Segment> which) -> std::exception_ptr {
    try {
      backend_.run(which);
      return {};
    } catch (...) {
      return std::current_exception();
    }
  };
  std::vector<std::exception_ptr> failures(segments.size());
  lock.unlock();
  const Clock::time_point start = Clock::now();
  if (segments.size() == 1) {
    failures[0] = run(segments);
  } else if (run(segments)) {  // nothing was touched; whose error it is shows when each goes alone
    for (size_t i = 0; i < segments.size(); ++i) failures[i] = run(std::span(segments).subspan(i, 1));
  }
  const Clock::duration took = Clock::now() - start;
  lock.lock();

  step_took_ = took;
  if (streams && prompt_tokens > 0) adapt(prompt_tokens, took);
  ++counts_.steps;
  counts_.segments += static_cast<int64_t>(segments.size());
  for (size_t i = 0; i < step.size(); ++i) {
    Item& item = *step[i].item;
    counts_.tokens += step[i].tokens;
    item.done += step[i].tokens;
    item.failure = failures[i];
    item.cancelled = segments[i].cancelled;
    if (item.failure || item.cancelled || item.left() == 0) finish(item);
  }
}

/// Brings steps with streams and prompts near to the aim. A short step with few tokens says nothing of longer slices.
void Scheduler::adapt(int64_t prompt_tokens, Clock::duration took) {
  const int64_t unit = backend_.slice_unit();
  const int64_t now = std::max(slice_tokens_, unit);
  if (took > kStepAim) {
    slice_tokens_ = std::max(unit, now / 2 / unit * unit);
  } else if (took < kStepAim / 2 && prompt_tokens >= now) {
    slice_tokens_ = std::min(backend_.step_rows(), now + unit);
  } else {
    slice_tokens_ = now;
  }
}

}  // namespace prosa::runtime
