// What stands behind a Chat: the loaded model with its tokenizer and session, and the right to run one reply at a time.
//
// Does not know how a reply is made (reply_run.h). Always owned by shared_ptr: a reply under way keeps its engine
// alive. Invariant: the session is touched only under the lease of `busy_`. Thread safety: cancel(), is_loaded(),
// memory(), info(), stats(), tokenizer calls from any thread; the others get Error(busy) while a reply is under way.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/busy.h"
#include "chat/channels.h"
#include "chat/prompt_plan.h"
#include "chat/template.h"
#include "prosa/chat.h"
#include "runtime/disk_cache.h"
#include "runtime/load.h"
#include "runtime/session.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// Everything that unload() frees.
struct Loaded {
  LoadedModel model;
  Tokenizer tokenizer;
  ThinkingDefault thinking_default;
  ChannelTokens channel_tokens;
  std::vector<int32_t> end_tokens;             // sorted; a reply ends with any of them
  std::vector<int32_t> thinking_end;           // closes a think block
  std::shared_ptr<runtime::StateStore> store;  // the session's
  runtime::Session session;
};

/// Error(bad_tokenizer) when the tokenizer cannot belong to the model.
std::shared_ptr<Loaded> assemble(LoadedModel model, Tokenizer tokenizer, ThinkingDefault thinking_default);
/// From files. Errors of load_model(), Tokenizer::load() and assemble().
std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options);

/// What an Engine does besides loading and replying.
struct EngineOptions {
  ContextPolicy context_policy = ContextPolicy::error;
  std::string cache_dir = {};  // "": none
  int64_t cache_bytes = 0;
  double idle_unload_seconds = 0;  // 0: never
  /// What cancel() sets, for a loader that wants to look.
  std::shared_ptr<std::atomic<bool>> cancel = std::make_shared<std::atomic<bool>>(false);
};

/// The last reply, as far as it was handed out.
struct LastReply {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  SamplingConfig sampling;
  std::string said;
};

class Engine {
 public:
  using Loader = std::function<std::shared_ptr<Loaded>()>;
  /// `loader` runs at every load(); `name` is for messages.
  Engine(std::string name, Loader loader, EngineOptions options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void load();
  void unload(Unload states = Unload::drop, const std::string& park_path = {});
  void reset_state();
  void cancel() noexcept { *options_.cancel = true; }

  /// See Turn::hear. `slot` alternates between calls.
  SyncReport hear(std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                  const SamplingConfig& sampling, int slot);
  std::string heard(size_t characters);
  void save_session(const std::string& path, std::span<const Message> messages, const SamplingConfig& sampling,
                    std::span<const Tool> tools);
  std::vector<Message> load_session(const std::string& path);

  [[nodiscard]] bool is_loaded() const noexcept;
  [[nodiscard]] MemoryFootprint memory() const;
  [[nodiscard]] ModelInfo info() const;
  [[nodiscard]] ReplyStats stats() const;
  /// Error(not_loaded) after unload(); loads again what idleness has unloaded.
  [[nodiscard]] std::shared_ptr<Loaded> loaded();

  // For a reply under way, which holds the lease.

  /// The right to touch the session. Clears an old cancel(), and loads again what idleness has unloaded.
  [[nodiscard]] BusyLease begin_reply();
  [[nodiscard]] std::atomic<bool>& cancel_flag() const noexcept { return *options_.cancel; }
  /// The prompt, by the context policy. Errors: those of plan_prompt(), context_exceeded.
  PromptPlan plan(const Loaded& loaded, std::span<const Message> messages, std::span<const Tool> tools,
                  const SamplingConfig& sampling);
  /// The system prompt from disk, if it is there.
  void fetch_system(Loaded& loaded, const PromptPlan& plan);
  /// The reply has ended. Touches no error of its own: what fails is only kept less well.
  void end_reply(const ReplyStats& stats, const PromptPlan& plan, LastReply last, bool prefilled) noexcept;

 private:
  // Under the lease:
  void load_leased();
  void unload_leased(Unload states, const std::string& park_path, bool idle);
  void read_ahead(Loaded& loaded, std::span<const Message> history, std::string_view transcript,
                  std::span<const Tool> tools, const SamplingConfig& sampling, int slot, SyncReport& report);
  [[nodiscard]] std::shared_ptr<Loaded> held() const;
  /// The lease, or Error(busy). An unloading by idleness is waited for: nobody asked for it.
  [[nodiscard]] BusyLease take();
  [[nodiscard]] bool is_idle_for(std::chrono::steady_clock::duration patience) const;
  void watch_idleness(const std::stop_token& over);
  void touch();

  const std::string name_;
  const Loader loader_;
  const EngineOptions options_;
  std::mutex idling_;  // held while idleness unloads, before busy_ is taken
  std::atomic<bool> busy_ = false;

  // Touched under the lease only.
  LastReply last_;
  Forgetting forgetting_;
  std::unique_ptr<runtime::DiskCache> cache_;
  std::string parked_;        // the file of Unload::park
  uint64_t fingerprint_ = 0;  // of the model unloaded with Unload::keep or park

  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<Loaded> loaded_;
  std::shared_ptr<runtime::StateStore> kept_;  // of Unload::keep, while nothing is loaded
  bool idle_ = false;                          // unloaded by idleness
  std::chrono::steady_clock::time_point used_;
  ModelInfo info_;  // stays after unload()
  ReplyStats stats_;
  std::condition_variable_any over_;
  std::jthread watch_;  // last: it uses all of the above
};

}  // namespace prosa::chat
