// Many short continuations of one conversation, computed side by side: to score what might be said without saying it.
//
// Each run goes on from a place (a snapshot that other runs share) on a state of its own, and is fed tentatively: its
// rows have the bits that decoding its tokens one by one would give, whatever runs beside it. The session that the
// places come from is not touched. At most kMaxStates states live at a time, however many runs are given. Thread
// safety: one call at a time.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/cancel.h"
#include "runtime/session.h"

namespace prosa::runtime {

class Forks {
 public:
  using Place = std::shared_ptr<const backend::Snapshot>;
  static constexpr size_t kMaxStates = 8;

  struct Run {
    Place from;
    std::vector<int32_t> tokens;  // [1 .. backend::kMaxTentative]
    bool keep = false;            // whether others go on from its end
    Place behind = {};            // out, where it is kept
  };

  /// Error(out_of_memory).
  Forks(const Session& origin, const Cancel& cancel);

  /// Where the session stood.
  [[nodiscard]] const Place& origin() const noexcept { return origin_; }
  /// Feeds all runs, as many at a time as there are states. `on_rows` gets each with its state: row i is that after
  /// tokens[i]. Errors: cancelled, context_exceeded, out_of_memory, busy.
  void feed(std::span<Run> runs, const std::function<void(Run&, const backend::State&)>& on_rows);
  /// The tokens fed so far, and the steps that took.
  [[nodiscard]] int64_t tokens() const noexcept { return tokens_; }
  [[nodiscard]] int64_t steps() const noexcept { return steps_; }

 private:
  void feed_some(std::span<Run> runs, const std::function<void(Run&, const backend::State&)>& on_rows);

  const std::shared_ptr<ModelCore> core_;
  const Cancel cancel_;
  const int64_t capacity_;
  Place origin_;
  std::vector<std::unique_ptr<backend::State>> states_;
  int64_t tokens_ = 0;
  int64_t steps_ = 0;
};

}  // namespace prosa::runtime
