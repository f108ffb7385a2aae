// A sequence of tokens and the model state behind it: the caller says where it wants to be, the session finds the
// cheapest way there.
//
// Knows tokens, not roles or text. Invariant: tokens() is exactly what the state has been fed, in order; after a failed
// or cancelled call the state is given up, and the next sync() restores a checkpoint or starts anew: never a wrong
// reuse. A restored state continues with the very bits it would have had; the same tokens with the same cuts give the
// same bits, whatever was reused. Thread safety: one call at a time; memory() from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "prosa/model.h"
#include "session/checkpoints.h"

namespace prosa::session {

inline constexpr int64_t kDefaultCheckpointBudget = int64_t{512} << 20;

struct SyncRequest {
  std::span<const int32_t> tokens;            // the whole truth, at least one
  std::span<const int64_t> cuts = {};         // rising positions where prefill pauses, to keep checkpoints
  const std::atomic<bool>* cancel = nullptr;  // set: Error(cancelled) within one layer
};

enum class SyncPath {
  extended,  // the state stood at a prefix of the tokens
  restored,  // a checkpoint did
  rebuilt,   // nothing did
};
std::string_view to_string(SyncPath path) noexcept;

struct SyncReport {
  SyncPath path = SyncPath::rebuilt;
  int64_t reused = 0;    // tokens not computed again
  int64_t computed = 0;  // at least one: the last position's logits are always fresh
};

class Session {
 public:
  /// Room for `capacity` tokens. `backend` must not be used by others while a call runs.
  Session(std::shared_ptr<backend::Backend> backend, int64_t capacity,
          int64_t checkpoint_budget = kDefaultCheckpointBudget);

  /// Brings the state to the end of request.tokens; logits() are those of the last one.
  /// Errors: invalid_argument, context_exceeded (nothing is touched), cancelled, and what the backend raises.
  SyncReport sync(const SyncRequest& request);
  /// One token more.
  void decode(int32_t token);
  /// Keeps a checkpoint at the current position (no effect where one stands). Memory that runs out is no error: what
  /// is lost is only speed.
  void mark();
  /// Forgets the tokens and all checkpoints.
  void reset();

  /// Of the last token of tokens(), [vocab]. Scratch: the caller may change them.
  [[nodiscard]] std::span<float> logits() noexcept { return logits_; }
  [[nodiscard]] std::span<const int32_t> tokens() const noexcept { return tokens_; }
  [[nodiscard]] int64_t position() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  [[nodiscard]] int64_t capacity() const noexcept { return state_->capacity(); }
  [[nodiscard]] size_t checkpoint_count() const { return checkpoints_.size(); }

  /// kv, state, checkpoints and the logits; weights and the backend's scratch are not the session's.
  [[nodiscard]] MemoryFootprint memory() const;

 private:
  SyncReport rewind_for(std::span<const int32_t> tokens);
  void prefill(std::span<const int32_t> tokens, backend::LogitRows rows, const std::atomic<bool>* cancel);
  void check_token(int32_t token) const;

  std::shared_ptr<backend::Backend> backend_;
  std::unique_ptr<backend::State> state_;
  bool usable_ = true;  // the state stands at the end of tokens_
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;  // [vocab]
  Checkpoints checkpoints_;
};

}  // namespace prosa::session
