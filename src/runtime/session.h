// A sequence of tokens and the model state behind it: the caller says where it wants to be, the session finds the
// cheapest way there.
//
// Knows tokens, not roles or text; the public face is prosa/session.h. Everything is computed through the model's
// scheduler, in steps shared with other sessions. Invariant: tokens() is exactly what the state has been fed, in order;
// after a failed or cancelled call the state is given up, and the next sync() restores a stored state or starts anew:
// never a wrong reuse. Thread safety: one call at a time on a session; any number of sessions of a model at a time;
// memory() from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "prosa/model.h"
#include "prosa/session.h"
#include "runtime/core.h"
#include "runtime/session_file.h"

namespace prosa::runtime {

struct SyncRequest {
  std::span<const int32_t> tokens;     // the whole truth, at least one
  std::span<const int64_t> cuts = {};  // rising positions where prefill pauses, to keep states
  Cancel cancel = {};                  // requested: Error(cancelled) within milliseconds, or a step shared with others
  bool logits = true;                  // false: the last row is not asked for
  bool passing = false;                // the end is no place where others pause: a turn that is still being spoken
  Priority priority = Priority::prefill;
};

class Session {
 public:
  /// Room for `capacity` tokens. `family`: of an earlier session whose stored states this one goes on with; 0: none.
  /// `domain`: stored states of another are never met; see Slot.
  Session(std::shared_ptr<ModelCore> core, int64_t capacity, uint64_t family = 0, uint64_t domain = 0);
  /// Another session at the same place, which goes on with the same bits. Both share what they have in common.
  Session(const Session& origin);
  ~Session();
  Session& operator=(const Session&) = delete;

  /// Brings the state to the end of request.tokens; the row is that of the last one.
  /// Errors: invalid_argument, context_exceeded (nothing is touched), cancelled, and what the backend raises.
  SyncReport sync(const SyncRequest& request);
  /// One token more.
  void decode(int32_t token);
  /// The same for several, with the bits of one after the other, in as few passes as they need. False: cancelled, with
  /// some of them fed.
  bool decode(std::span<const int32_t> tokens, const Cancel& cancel);
  /// Runs ahead through tokens that are not decided yet, at most backend::kMaxTentative: candidates(pick, i) then
  /// answers for what follows the i-th of them. settle() has to follow. False: cancelled, nothing was fed.
  bool attempt(std::span<const int32_t> tokens, const Cancel& cancel);
  /// How probable `next` is after the last token and `ahead` (at most backend::kMaxTentative). The state stays where it
  /// is, to the bit. Nothing when cancelled.
  std::optional<double> probability(std::span<const int32_t> ahead, int32_t next, const Cancel& cancel);
  /// Keeps the first n of these tokens, with the bits of n decodes.
  void settle(int64_t n);
  /// No decode() follows for now: steps shared with others do not wait for one.
  void pause() noexcept { core_->scheduler().leave(stream_); }
  /// Back to the first `position` of tokens(), by the nearest stored state and one prefill.
  SyncReport rewind(int64_t position, const Cancel& cancel = {});
  /// The state here, for others to go on from. Needs usable(). Error(out_of_memory).
  [[nodiscard]] std::shared_ptr<const backend::Snapshot> snapshot() const { return core_->backend().snapshot(*state_); }
  /// Keeps a state at the current position (no effect where one stands). Memory that runs out is no error: what is lost
  /// is only speed.
  void mark();
  /// The same for a position that is soon passed: it takes the place of the last one kept in this slot (0, 1, …).
  void mark_in_slot(int number);
  /// From now on decode() keeps the newest kReplyMarks states at every kReplyStep tokens, fewer where they would take
  /// more than a quarter of the store's budget: what rewind() into a reply starts from. Slots 0, 1, … are theirs.
  void keep_reply_marks();
  static constexpr int64_t kReplyStep = 16;
  static constexpr int64_t kReplyMarks = 6;
  /// How many of these tokens the session has as its own, from the first on.
  [[nodiscard]] int64_t common_with(std::span<const int32_t> tokens) const;
  void drop_slots() { store().drop_slots(id_); }
  /// Forgets the tokens, and the stored states that nobody else has used.
  void reset();

  /// False while nothing was fed, and after a call that failed or was cancelled.
  [[nodiscard]] bool usable() const noexcept { return usable_ && !tokens_.empty(); }
  /// Whether the row of the last token can be asked for.
  [[nodiscard]] bool has_logits() const noexcept { return usable() && state_->rows() > 0 && !other_row_; }
  /// The best tokens after the last one. Needs has_logits().
  [[nodiscard]] backend::Candidates candidates(const backend::Pick& pick) const;
  [[nodiscard]] backend::Candidates candidates(const backend::Pick& pick, int64_t row) const;
  /// The whole row [vocab]: a copy. Needs has_logits().
  void copy_logits(std::span<float> out) const;
  void copy_logits(std::span<float> out, int64_t row) const;
  [[nodiscard]] std::span<const int32_t> tokens() const noexcept { return tokens_; }
  [[nodiscard]] int64_t position() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  [[nodiscard]] int64_t capacity() const noexcept { return state_->capacity(); }
  [[nodiscard]] uint64_t family() const noexcept { return family_; }
  [[nodiscard]] StateStore& store() const noexcept { return *core_->store(); }
  [[nodiscard]] backend::Backend& backend() const noexcept { return core_->backend(); }
  [[nodiscard]] const std::shared_ptr<ModelCore>& core() const noexcept { return core_; }
  /// Of the last row.
  [[nodiscard]] const backend::State& state() const noexcept { return *state_; }

  /// kv and state of this session, its row as scratch, and of the stored states what this session does not have as its
  /// own kv; weights and the backend's scratch are not the session's.
  [[nodiscard]] MemoryFootprint memory() const;

  /// See prosa/session.h. `notes`: what the caller wants to find again.
  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& notes) const;
  /// A file that this session can go on from, with the notes in it: nothing is touched until take().
  [[nodiscard]] SessionFile read(const std::filesystem::path& path) const;
  void take(SessionFile file);
  std::map<std::string, std::string> load(const std::filesystem::path& path) {
    SessionFile file = read(path);
    auto notes = std::move(file.notes);
    take(std::move(file));
    return notes;
  }

 private:
  SyncReport rewind_for(std::span<const int32_t> tokens, bool logits);
  void feed(std::span<const int32_t> tokens, backend::Rows rows, const SyncRequest& request, Stream* stream);
  bool attempt(std::span<const int32_t> tokens, const Cancel& cancel, backend::Rows rows, Stream* stream);
  bool run(const Work& work);
  void keep(Slot slot);
  void check_token(int32_t token) const;
  void count_shared();
  [[nodiscard]] FileIdentity identity() const;

  const uint64_t id_;      // of this session in the store
  const uint64_t family_;  // of the session that it was forked from, or its own
  const uint64_t domain_;
  const std::shared_ptr<ModelCore> core_;
  std::unique_ptr<backend::State> state_;
  Stream stream_;           // of decode()
  bool usable_ = true;      // the state stands at the end of tokens_
  bool plain_ = true;       // fed in the pieces in which everybody feeds such tokens, so that others may have the state
  bool marked_ = false;     // a state was kept since the last step
  bool other_row_ = false;  // the state's rows are of tokens that were taken back
  int64_t reply_marks_ = 0;  // how many decode() keeps
  std::vector<int32_t> tokens_;
  std::vector<int32_t> attempted_;         // fed tentatively
  std::atomic<int64_t> shared_bytes_ = 0;  // kv that stored states hold too
};

}  // namespace prosa::runtime
