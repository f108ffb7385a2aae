// Forms the steps of a backend out of the work of many conversations: continuous batching.
//
// Whoever has tokens to feed calls run() and gets back when they are fed. There is no thread of its own: of the callers
// that wait, one leads. It forms a step, computes it for all, and leads on until its own work is done; then another
// takes over. A lone conversation so computes on its own thread, with an uncontended lock around each step.
//
// A step has all single tokens and tentative ones (the streams), filled up with slices of prompts: by priority, and
// within one by deficit round robin. Slices are whole units of the backend counted from where the work begins, so that
// load never changes a bit; while streams wait, slices are so small that a step stays short. What is passed over too
// often is served first: nothing starves.
//
// Invariant: while run() works on a state, nobody else has it. Thread safety: all of it from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace prosa::runtime {

/// Whose prompt is read first. Streams, which feed one token after another, are in every step.
enum class Priority { turn, prefill, background };

/// A stream of single tokens, as the scheduler knows it: who has just been served is waited for a moment, so that
/// streams share steps instead of taking turns, and steps stay short for a while, so that none comes back to a long
/// one.
class Stream {
 private:
  friend class Scheduler;
  bool expected_ = false;
  bool open_ = false;                             // served, and not left since
  std::chrono::steady_clock::time_point served_;  // while open: when
};

/// Tokens to feed to one state.
struct Work {
  backend::State* state = nullptr;
  std::span<const int32_t> tokens;  // [n >= 1]
  /// all: n is at most Backend::step_rows(), and the work is not cut into slices.
  backend::Rows rows = backend::Rows::last;
  bool tentative = false;
  Priority priority = Priority::prefill;
  Cancel cancel = {};
  Stream* stream = nullptr;  // of single tokens; null: whether more will come is not known
};

class Scheduler {
 public:
  /// Work that may wait at a time; more gets Error(busy).
  static constexpr size_t kMaxWaiting = 4096;
  /// A step with streams in it is meant to last no longer than this.
  static constexpr std::chrono::milliseconds kStepAim{70};

  explicit Scheduler(backend::Backend& backend) : backend_(backend) {}
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Feeds the tokens. False: cancelled; the state then stands anywhere or is no longer valid(), but the tokens of a
  /// work without slices before it are all fed or none. Errors: those of Backend::run(), and busy.
  bool run(const Work& work) { return run(std::span(&work, 1)); }
  /// The same for works of one caller, of different states: they stand in the same steps where there is room. False:
  /// one or more were cancelled. Returns or throws when none of them is under way any more; an error is the first
  /// one's.
  bool run(std::span<const Work> works);
  /// The stream goes on no more, for now: nobody waits for its next token.
  void leave(Stream& stream);

  /// What the scheduler has done so far, for tests and metrics.
  struct Counts {
    int64_t steps = 0;
    int64_t segments = 0;  // of all steps
    int64_t tokens = 0;    // of all segments
    int64_t waiting = 0;   // calls of run() that are not finished now
  };
  [[nodiscard]] Counts counts() const;

 private:
  struct Item;
  struct Slice {
    Item* item;
    int64_t tokens;
  };
  using Lock = std::unique_lock<std::mutex>;

  void wait_for(Lock& lock, Item& item);
  void lead(Lock& lock, const Item& own);
  void gather(Lock& lock);
  [[nodiscard]] bool streams_live() const;
  void drop_cancelled();
  [[nodiscard]] std::vector<Slice> form_step();
  void add_prompts(std::vector<Slice>& step, int64_t room);
  bool take_turns(std::span<Item* const> items, std::span<int64_t> taken, int64_t& room, bool empty) const;
  void compute(Lock& lock, const std::vector<Slice>& step);
  void adapt(int64_t prompt_tokens, std::chrono::steady_clock::duration took);
  void finish(Item& item);

  backend::Backend& backend_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable arrived_;
  std::vector<Item*> waiting_;  // in the order of arrival; the round of the prompts
  bool led_ = false;
  std::vector<Stream*> expected_;  // served by the last step, not waiting
  std::vector<Stream*> open_;
  int64_t slice_tokens_ = 0;                         // of prompts in a step with streams; 0: not known yet
  std::chrono::steady_clock::duration step_took_{};  // the last one
  Counts counts_;
};

}  // namespace prosa::runtime
