// What stands behind a Chat: the model with its tokenizer, a session of it, and the right to run one reply at a time.
//
// Does not know how a reply is made (reply_run.h). Always owned by shared_ptr: a reply under way keeps its engine
// alive. Any number of engines may stand on one model. Invariant: the session is touched only under the lease. Thread
// safety: cancel(), is_loaded(), memory(), info(), stats(), loaded() from any thread; the others get Error(busy) while
// a call on the same engine is under way.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/busy.h"
#include "chat/cancellation.h"
#include "chat/chat_template.h"
#include "chat/prompt_plan.h"
#include "chat/reply_rules.h"
#include "chat/reply_text.h"
#include "grammar/token_trie.h"
#include "prosa/chat.h"
#include "runtime/core.h"
#include "runtime/disk_cache.h"
#include "runtime/session.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// What all chats of a model share of its text.
struct ModelText {
  Tokenizer tokenizer;
  ChatTemplate chat_template;
  ReplyTokens tokens;
  mutable RuleCache rules;

  /// The tokenizer's trie, made when it is first asked for.
  [[nodiscard]] std::shared_ptr<const grammar::TokenTrie> trie(int64_t vocab_size) const {
    const std::lock_guard lock(*making_trie_);
    if (!trie_) trie_ = std::make_shared<const grammar::TokenTrie>(tokenizer, vocab_size);
    return trie_;
  }

  ModelText(Tokenizer of_model, ChatTemplate of_prompts, ReplyTokens of_replies)
      : tokenizer(std::move(of_model)), chat_template(std::move(of_prompts)), tokens(std::move(of_replies)) {}

 private:
  std::unique_ptr<std::mutex> making_trie_ = std::make_unique<std::mutex>();
  mutable std::shared_ptr<const grammar::TokenTrie> trie_;
};

/// Everything that an engine lets go of when it unloads.
struct Loaded {
  std::shared_ptr<ModelCore> core;
  std::shared_ptr<const ModelText> text;
  runtime::Session session;

  Loaded(std::shared_ptr<ModelCore> model, std::shared_ptr<const ModelText> of_model, uint64_t family = 0,
         uint64_t domain = 0)
      : core(std::move(model)), text(std::move(of_model)), session(core, core->loaded().context, family, domain) {}
  /// Another at the same place of the conversation.
  Loaded(const Loaded& origin) = default;
};

/// Stored states that outlive their model, for when it is loaded again.
struct KeptStates {
  std::shared_ptr<runtime::StateStore> store;  // null: none
  uint64_t fingerprint = 0;                    // of their model
  uint64_t family = 0;                         // of the session that put them there
  uint64_t domain = 0;                         // ChatOptions::sharing of whoever loads
};

/// Error(bad_tokenizer) when the tokenizer cannot belong to the model.
std::shared_ptr<Loaded> assemble(LoadedModel model, Tokenizer tokenizer, ChatTemplate chat_template,
                                 const KeptStates& kept = {});
/// From files. Errors of load_model(), Tokenizer::load() and assemble().
std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options, const KeptStates& kept);
/// On a model that is there; its text is read once for all chats. Errors of Tokenizer::load() and assemble().
std::shared_ptr<Loaded> load_on(const std::shared_ptr<ModelCore>& core, const KeptStates& kept);

/// What an engine does besides loading and replying.
struct EngineOptions {
  ChatOptions chat = {};
  /// What cancel() sets, for a loader that wants to look.
  std::shared_ptr<Cancellation> cancellation = std::make_shared<Cancellation>();
};

/// The last reply: its prompt and what was handed out of it.
struct LastReply {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  SamplingConfig sampling;
  std::shared_ptr<SaidText> said;  // null: there was none
  int64_t settled = 0;             // up to where its prompt was to stay as it is: the last cut
};

/// The right to use an engine's session, and to be cancelled.
class EngineLease {
 public:
  EngineLease(BusyLease busy, Cancellation& cancellation) : busy_(std::move(busy)), cancellation_(&cancellation) {
    cancellation.begin();
  }
  ~EngineLease() { release(); }
  EngineLease(EngineLease&& other) noexcept
      : busy_(std::move(other.busy_)), cancellation_(std::exchange(other.cancellation_, nullptr)) {}
  EngineLease& operator=(EngineLease&&) = delete;
  void release() noexcept {
    if (auto* const cancellation = std::exchange(cancellation_, nullptr)) cancellation->end();
    busy_.release();
  }

 private:
  BusyLease busy_;
  Cancellation* cancellation_;
};

class Engine {
 public:
  using Loader = std::function<std::shared_ptr<Loaded>(const KeptStates&)>;
  /// `loader` runs at every load(); `name` is for messages. Error(invalid_argument): options out of range.
  Engine(std::string name, Loader loader, EngineOptions options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void load();
  void unload(Unload states = Unload::drop, const std::string& park_path = {});
  void reset_state();
  void cancel() noexcept { options_.cancellation->cancel(); }
  /// Starts this engine, which has loaded nothing yet, at the place where `origin` stands.
  void begin_as(Engine& origin);

  /// See Turn::hear. `slot` alternates between calls.
  SyncReport hear(std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                  const SamplingConfig& sampling, int slot);
  /// See Turn::ending. `asked`: the tokens that were computed for it.
  std::optional<double> ending_probability(std::span<const Message> history, std::string_view transcript,
                                           std::span<const Tool> tools, const SamplingConfig& sampling, int slot,
                                           int64_t& asked);
  std::string heard(size_t characters);
  void save_session(const std::string& path, std::span<const Message> messages, const SamplingConfig& sampling,
                    std::span<const Tool> tools);
  std::vector<Message> load_session(const std::string& path);

  [[nodiscard]] bool is_loaded() const noexcept;
  [[nodiscard]] MemoryFootprint memory() const;
  [[nodiscard]] ModelInfo info() const;
  [[nodiscard]] ReplyStats stats() const;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const ChatOptions& options() const noexcept { return options_.chat; }
  /// Error(not_loaded) after unload(); loads again what idleness has unloaded.
  [[nodiscard]] std::shared_ptr<Loaded> loaded();

  // For a reply under way, which holds the lease.

  /// The right to touch the session. Loads again what idleness has unloaded.
  [[nodiscard]] EngineLease begin_reply();
  [[nodiscard]] const std::atomic<bool>& cancel_flag() const noexcept { return options_.cancellation->flag(); }
  /// The prompt, by the context policy. Errors: those of plan_prompt(), context_exceeded.
  PromptPlan plan(const Loaded& loaded, std::span<const Message> messages, std::span<const Tool> tools,
                  const SamplingConfig& sampling);
  /// The reply before.
  [[nodiscard]] const LastReply& last() const noexcept { return last_; }
  /// The system prompt from disk, if it is there.
  void fetch_system(Loaded& loaded, const PromptPlan& plan);
  /// The reply has ended. Touches no error of its own: what fails is only kept less well.
  void end_reply(const ReplyStats& stats, const PromptPlan& plan, LastReply last, bool prefilled) noexcept;
  /// A choice has been made. `said`: the reply that the conversation goes on from; empty: it stands where it stood.
  void end_choice(const PromptPlan& plan, std::span<const Message> messages, std::span<const Tool> tools,
                  const SamplingConfig& sampling, const std::string& said);

 private:
  // Under the lease:
  void load_leased();
  void unload_leased(Unload states, const std::string& park_path, bool idle);
  void park(Loaded& loaded, const std::string& path);
  PromptPlan plan_with(Forgetting& forgetting, const Loaded& loaded, std::span<const Message> messages,
                       std::span<const Tool> tools, const SamplingConfig& sampling) const;
  HearingPlan read_ahead(Loaded& loaded, std::span<const Message> history, std::string_view transcript,
                         std::span<const Tool> tools, const SamplingConfig& sampling, int slot, SyncReport& report);
  [[nodiscard]] std::shared_ptr<Loaded> held() const;
  /// The lease, or Error(busy). An unloading by idleness is waited for: nobody asked for it.
  [[nodiscard]] EngineLease take();
  void watch();
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
  std::string parked_;  // the file of Unload::park

  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<Loaded> loaded_;
  KeptStates kept_;    // after Unload::keep; of Unload::park the fingerprint
  bool idle_ = false;  // unloaded by idleness
  std::chrono::steady_clock::time_point used_;
  ModelInfo info_;  // stays after unload()
  ReplyStats stats_;
  std::condition_variable_any over_;
  std::jthread watch_;  // last: it uses all of the above
};

}  // namespace prosa::chat
