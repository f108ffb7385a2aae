// A conversation as tokens: the caller says where it wants to be, the session finds the cheapest way there.
//
// No text and no roles: Chat (chat.h) is the conversation on top. What decides all of it: the recurrent state of these
// models cannot be cut, it is valid at exactly one position. A session therefore stores states {tokens, state} where it
// is told that others may come back to, and every sync() starts from the longest one that fits. All sessions and chats
// of a Model share the stored states, but for those that were fed in pieces of their own (after decode(), or from a
// place that is no cut): these serve the session and its forks.
//
// Exactness: a restored state continues with the very bits it would have had; the same tokens with the same cuts give
// the same bits, whatever was reused. Other cuts (a prompt fed in other pieces, a reply that was decoded and is now
// read) agree within the numeric bounds of docs/reference/numerics.md.
//
// Thread safety: one call at a time on a Session; a second thread gets Error(busy). Sessions of one Model work side by
// side, from any threads: their steps are computed together, and change no bit of each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "prosa/error.h"
#include "prosa/model.h"

namespace prosa {

enum class SyncPath {
  extended,  // the state stood at a prefix of the tokens (or at all of them)
  restored,  // a stored state did
  rebuilt,   // nothing did: computed from the first token
};
std::string_view to_string(SyncPath path) noexcept;

/// What a sync() cost: reused + computed = the tokens asked for.
struct SyncReport {
  SyncPath path = SyncPath::rebuilt;
  int64_t reused = 0;    // tokens not computed again
  int64_t computed = 0;  // 0 where the state already stood, with its logits
  int64_t common = 0;    // how many tokens the list shared with the one held before: where they part
  /// One line for a log: "restored at 1812 of 1826 tokens; the list held before parts at 1820".
  [[nodiscard]] std::string reason() const;
};

/// Keeps a session file for whoever holds it. While it lives, all others in this process and in other processes get
/// Error(busy) at once when they save to the file, load from it (unless with SessionAccess::read_only) or make a lock
/// of it. The holder passes the lock instead of the path. It is what makes load, go on, save safe beside other
/// programs: without it, two that loaded the same file would each save over the other's turns.
///
/// A file ".NAME.lock" beside the session file stands for it and is removed with it; the lock also goes with its
/// process, however that ends. Thread safety: constant after construction; any number of sessions and threads may use
/// it.
class SessionLock {
 public:
  /// The file need not exist. Waits for a call of another that is reading or writing the file. Errors: busy (the
  /// message has the process that holds it, where that is known), io (also: the file can't be written or replaced).
  explicit SessionLock(const std::string& path);
  ~SessionLock();
  SessionLock(SessionLock&&) noexcept;
  SessionLock& operator=(SessionLock&&) noexcept;
  /// Of the session file. Error(invalid_argument) after a move.
  [[nodiscard]] const std::string& path() const;
  /// Every save through the lock asks for it first. Error(busy): the lock's file, or the folder with both, was removed
  /// or replaced meanwhile, so that somebody else may have the session file.
  void require_held() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How a session file is opened without a lock of one's own.
enum class SessionAccess {
  exclusive,  // for the time of the call nobody else has it
  read_only,  // whoever has it: the newest complete version, for those who will not save to it
};

class Session {
 public:
  /// An empty session of LoadOptions::context tokens. The session may outlive the handle. Error(out_of_memory).
  explicit Session(const Model& model);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Another session that stands where this one does and goes on with the same bits. It shares the memory of what both
  /// have in common: it costs the tokens that are new in it. Errors: busy, out_of_memory.
  [[nodiscard]] Session fork() const;

  /// Brings the state to the end of `tokens` [n >= 1], the whole truth. `cuts`: rising positions where prefill pauses
  /// and a state is stored (of many the first and the last four); those behind what is reused or outside cost
  /// nothing. `cancel` may be set by any thread: Error(cancelled) within milliseconds; what is reused later stays
  /// right. Errors: invalid_argument, context_exceeded (both before anything is touched), cancelled, out_of_memory,
  /// busy.
  SyncReport sync(std::span<const int32_t> tokens, std::span<const int64_t> cuts = {},
                  const std::atomic<bool>* cancel = nullptr);
  /// One token more: a decode step. Errors: invalid_argument (also: nothing was fed yet), context_exceeded, busy.
  void decode(int32_t token);
  /// Back to the first `position` tokens: the longest stored state among them, then one prefill of the rest. The bits
  /// are those of that prefill. Of a reply, decode() keeps the last six states that stand at multiples of 16 tokens
  /// (fewer where they would take more than a quarter of LoadOptions::state_store_bytes), so that the prefill is short.
  /// Error(invalid_argument) beyond position().
  SyncReport rewind(int64_t position);
  /// Stores the state here, so that coming back costs nothing. Memory that runs out is no error: only speed is lost.
  void mark();
  /// Forgets the tokens, and the stored states that no other session of the model has used.
  void reset();

  /// Logits [vocab] of the last token; empty before the first and after a call that failed. Valid until the next call.
  [[nodiscard]] std::span<const float> logits() const;
  [[nodiscard]] std::span<const int32_t> tokens() const;
  [[nodiscard]] int64_t position() const;
  [[nodiscard]] int64_t capacity() const;
  /// kv and state of this session, the stored states of the model, and the session's logits as scratch.
  [[nodiscard]] MemoryFootprint memory_footprint() const;

  /// Tokens, KV, state and logits in one file, written beside its name and renamed: the old file survives whatever
  /// happens. Errors: io, invalid_argument (nothing was fed yet), busy (also: another holds the file).
  void save(const std::string& path) const;
  void save(const SessionLock& file) const;
  /// Continues a saved session with the bits it would have had. Errors: not_found, io, bad_session (damaged; of another
  /// model, backend, version or byte order), context_exceeded, busy (also: another holds the file); this session is
  /// then as it was.
  void load(const std::string& path, SessionAccess access = SessionAccess::exclusive);
  void load(const SessionLock& file);

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  [[nodiscard]] Impl& impl() const;  // Error(invalid_argument) after a move
  std::unique_ptr<Impl> impl_;
};

}  // namespace prosa
