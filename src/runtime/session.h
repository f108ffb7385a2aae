// A sequence of tokens and the model state behind it: the caller says where it wants to be, the session finds the
// cheapest way there.
//
// Knows tokens, not roles or text; the public face is prosa/session.h. Invariant: tokens() is exactly what the state
// has been fed, in order; after a failed or cancelled call the state is given up, and the next sync() restores a
// checkpoint or starts anew: never a wrong reuse. Thread safety: one call at a time over all sessions of a backend;
// memory() from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "prosa/model.h"
#include "prosa/session.h"
#include "runtime/session_file.h"
#include "runtime/state_store.h"

namespace prosa::runtime {

struct SyncRequest {
  std::span<const int32_t> tokens;            // the whole truth, at least one
  std::span<const int64_t> cuts = {};         // rising positions where prefill pauses, to keep checkpoints
  const std::atomic<bool>* cancel = nullptr;  // set: Error(cancelled) within milliseconds
  bool logits = true;                         // false: logits() are not asked for
};

class Session {
 public:
  /// Room for `capacity` tokens. `backend` must not be used by others while a call runs.
  Session(std::shared_ptr<backend::Backend> backend, int64_t capacity, std::shared_ptr<StateStore> store);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Brings the state to the end of request.tokens; logits() are those of the last one.
  /// Errors: invalid_argument, context_exceeded (nothing is touched), cancelled, and what the backend raises.
  SyncReport sync(const SyncRequest& request);
  /// One token more.
  void decode(int32_t token);
  /// Back to the first `position` of tokens(), by the nearest checkpoint and one prefill.
  SyncReport rewind(int64_t position, const std::atomic<bool>* cancel = nullptr);
  /// Keeps a checkpoint at the current position (no effect where one stands). Memory that runs out is no error: what
  /// is lost is only speed.
  void mark();
  /// The same for a position that is soon passed: it takes the place of the last one kept in this slot (0, 1, …).
  void mark_in_slot(int number);
  /// From now on decode() keeps the newest kReplyMarks states at every kReplyStep tokens, fewer where they would take
  /// more than a quarter of the checkpoints' budget: what rewind() into a reply starts from. Slots 0, 1, … are theirs.
  void keep_reply_marks();
  static constexpr int64_t kReplyStep = 16;
  static constexpr int64_t kReplyMarks = 6;
  /// How many of these tokens the session holds as its own, from the first on.
  [[nodiscard]] int64_t common_with(std::span<const int32_t> tokens) const;
  /// StateStore of an earlier session of the same model, before anything is fed.
  void share(std::shared_ptr<StateStore> store);
  void drop_slots() { store_->drop_slots(id_); }
  /// Forgets the tokens and all checkpoints.
  void reset();

  /// Of the last token of tokens(), [vocab]; empty when unknown.
  [[nodiscard]] std::span<const float> logits() const noexcept;
  /// The same for a sampler, which leaves them as they were.
  [[nodiscard]] std::span<float> logits() noexcept;
  [[nodiscard]] std::span<const int32_t> tokens() const noexcept { return tokens_; }
  [[nodiscard]] int64_t position() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  [[nodiscard]] int64_t capacity() const noexcept { return state_->capacity(); }
  [[nodiscard]] StateStore& store() noexcept { return *store_; }
  [[nodiscard]] backend::Backend& backend() noexcept { return *backend_; }

  /// kv and state of this session, the logits as scratch, and of the shared checkpoints what this session does not hold
  /// as its own kv; weights and the backend's scratch are not the session's.
  [[nodiscard]] MemoryFootprint memory() const;

  /// See prosa/session.h. `notes`: what the caller wants to find again.
  void save(const std::filesystem::path& path, uint64_t model, const std::map<std::string, std::string>& notes) const;
  std::map<std::string, std::string> load(const std::filesystem::path& path, uint64_t model);

 private:
  SyncReport rewind_for(std::span<const int32_t> tokens, bool logits);
  void prefill(std::span<const int32_t> tokens, backend::LogitRows rows, const std::atomic<bool>* cancel);
  template <typename Step>
  void with_memory(const Step& step);
  void keep(Slot slot);
  void check_token(int32_t token) const;
  void count_shared();
  [[nodiscard]] FileIdentity identity(uint64_t model) const;

  const uint64_t id_;  // of this session, for slots
  std::shared_ptr<backend::Backend> backend_;
  std::unique_ptr<backend::State> state_;
  bool usable_ = true;       // the state stands at the end of tokens_
  bool has_logits_ = false;  // logits_ are those of the last token
  bool marked_ = false;      // a checkpoint was kept since the last step
  int64_t reply_marks_ = 0;  // how many decode() keeps
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;  // [vocab]
  std::shared_ptr<StateStore> store_;
  std::atomic<int64_t> shared_bytes_ = 0;  // kv that the checkpoints hold too
};

}  // namespace prosa::runtime
