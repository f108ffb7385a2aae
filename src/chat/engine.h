// What stands behind a Chat: the loaded model with its tokenizer and session, and the right to run one reply at a time.
//
// Does not know how a reply is made (reply_run.h). Always owned by shared_ptr: a reply under way keeps its engine
// alive. Invariant: the session is touched only under the lease of `busy_`. Thread safety: cancel(), is_loaded(),
// memory(), info(), stats(), tokenizer calls from any thread; the others get Error(busy) while a reply is under way.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/busy.h"
#include "chat/channels.h"
#include "chat/template.h"
#include "model/load.h"
#include "prosa/chat.h"
#include "session/session.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// Everything that unload() frees.
struct Loaded {
  LoadedModel model;
  Tokenizer tokenizer;
  ThinkingDefault thinking_default;
  ChannelTokens channel_tokens;
  std::vector<int32_t> end_tokens;    // sorted; a reply ends with any of them
  std::vector<int32_t> thinking_end;  // closes a think block
  session::Session session;
};

/// Error(bad_tokenizer) when the tokenizer cannot belong to the model.
std::shared_ptr<Loaded> assemble(LoadedModel model, Tokenizer tokenizer, ThinkingDefault thinking_default);
/// From files. Errors of load_model(), Tokenizer::load() and assemble().
std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options);

class Engine {
 public:
  using Loader = std::function<std::shared_ptr<Loaded>()>;
  /// `loader` runs at every load(); `name` is for messages.
  Engine(std::string name, Loader loader);

  void load();
  void unload();
  void reset_state();
  void cancel() noexcept { cancel_ = true; }

  [[nodiscard]] bool is_loaded() const noexcept;
  [[nodiscard]] MemoryFootprint memory() const;
  [[nodiscard]] ModelInfo info() const;
  [[nodiscard]] ReplyStats stats() const;
  void set_stats(const ReplyStats& stats);
  /// Error(not_loaded) after unload().
  [[nodiscard]] std::shared_ptr<Loaded> loaded() const;

  /// The right to touch the session. Clears an old cancel().
  [[nodiscard]] BusyLease begin_reply();
  [[nodiscard]] const std::atomic<bool>& cancel_flag() const noexcept { return cancel_; }

 private:
  const std::string name_;
  const Loader loader_;
  std::atomic<bool> busy_ = false;
  std::atomic<bool> cancel_ = false;
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<Loaded> loaded_;
  ModelInfo info_;  // stays after unload()
  ReplyStats stats_;
};

}  // namespace prosa::chat
