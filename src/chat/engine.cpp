// Loading, unloading and idleness, and the bookkeeping around replies. What reads ahead is in engine_reading.cpp.
#include "chat/engine.h"

#include <algorithm>
#include <cstdio>
#include <system_error>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::chat {
namespace {

std::shared_ptr<const ModelText> text_of(const LoadedModel& model, Tokenizer tokenizer, ChatTemplate chat_template) {
  const ModelConfig& config = model.backend->config();
  const std::string file = (model.folder / "tokenizer.json").string();
  if (tokenizer.vocab_size() > config.vocab_size) {
    throw Error(
        ErrorCode::bad_tokenizer,
        fmt::format("its {} ids exceed the model's vocabulary of {}", tokenizer.vocab_size(), config.vocab_size), file,
        "take the tokenizer.json that belongs to this model");
  }
  ReplyTokens tokens = ReplyTokens::of(tokenizer, config.eos_token_ids);
  if (tokens.end.empty()) {
    throw Error(ErrorCode::bad_tokenizer, "no end token: neither <|im_end|> nor an eos_token_id", file,
                "a chat needs an instruct model with its own tokenizer");
  }
  return std::make_shared<ModelText>(std::move(tokenizer), std::move(chat_template), std::move(tokens));
}

std::shared_ptr<const ModelText> read_text(const LoadedModel& model) {
  Tokenizer tokenizer = Tokenizer::load(model.folder);
  return text_of(model, std::move(tokenizer), ChatTemplate::load(model.folder));
}

std::shared_ptr<Loaded> make_loaded(LoadedModel model, const KeptStates& kept,
                                    const std::function<std::shared_ptr<const ModelText>(const LoadedModel&)>& read) {
  const bool same_model = kept.store && kept.fingerprint == model.fingerprint;
  auto core = std::make_shared<ModelCore>(std::move(model), same_model ? kept.store : nullptr);
  auto text = core->extension<ModelText>([&] { return read(core->loaded()); });
  return std::make_shared<Loaded>(std::move(core), std::move(text), same_model ? kept.family : 0, kept.domain);
}

ModelInfo describe(const Loaded& loaded) {
  ModelInfo info = loaded.core->loaded().info;
  const std::vector<std::string>& warnings = loaded.text->tokenizer.warnings();
  info.warnings.insert(info.warnings.end(), warnings.begin(), warnings.end());
  return info;
}

constexpr double kShortestIdleness = 0.01;  // seconds
constexpr double kLongestIdleness = 1e9;    // three decades: far from where the clock overflows

void check(const ChatOptions& options) {
  if (options.cache_bytes < 0) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be 0 or more", options.cache_bytes),
                "cache_bytes");
  }
  if (options.context_policy != ContextPolicy::error && options.context_policy != ContextPolicy::drop_oldest) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("is {}, which is none", static_cast<int>(options.context_policy)), "context_policy");
  }
  const double seconds = options.idle_unload_seconds;
  if (seconds == 0 || (seconds >= kShortestIdleness && seconds <= kLongestIdleness)) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("is {}, but must be 0 or in [{}, 1e9]", seconds, kShortestIdleness), "idle_unload_seconds",
              "0 never unloads");
}

}  // namespace

std::shared_ptr<Loaded> assemble(LoadedModel model, Tokenizer tokenizer, ChatTemplate chat_template,
                                 const KeptStates& kept) {
  return make_loaded(std::move(model), kept, [&](const LoadedModel& loaded) {
    return text_of(loaded, std::move(tokenizer), std::move(chat_template));
  });
}

std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options, const KeptStates& kept) {
  return make_loaded(load_model(name, options), kept, read_text);
}

std::shared_ptr<Loaded> load_on(const std::shared_ptr<ModelCore>& core, const KeptStates& kept) {
  auto text = core->extension<ModelText>([&] { return read_text(core->loaded()); });
  return std::make_shared<Loaded>(core, std::move(text), kept.family, kept.domain);
}

Engine::Engine(std::string name, Loader loader, EngineOptions options)
    : name_(std::move(name)), loader_(std::move(loader)), options_(std::move(options)) {
  check(options_.chat);
  touch();
  if (options_.chat.idle_unload_seconds > 0) watch();
}

Engine::~Engine() = default;

std::shared_ptr<Loaded> Engine::held() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

// ---- loading and unloading

EngineLease Engine::take() {
  const std::lock_guard wait(idling_);
  return {BusyLease(busy_, "chat"), *options_.cancellation};
}

void Engine::load() {
  const EngineLease lease = take();
  load_leased();
}

void Engine::load_leased() {
  if (is_loaded()) return;
  KeptStates kept;
  {
    const std::lock_guard lock(mutex_);
    kept = kept_;
  }
  kept.domain = options_.chat.sharing;
  std::shared_ptr<Loaded> fresh = loader_(kept);
  const LoadedModel& model = fresh->core->loaded();
  if (!options_.chat.cache_dir.empty()) {
    const runtime::FileIdentity identity{model.fingerprint, std::string(model.backend->snapshot_layout())};
    cache_ = std::make_unique<runtime::DiskCache>(options_.chat.cache_dir, options_.chat.cache_bytes, identity);
  }
  if (!parked_.empty() && model.fingerprint == kept.fingerprint) {
    try {
      fresh->session.load(parked_);
    } catch (const Error&) {  // somebody took the file away: only speed is lost
    }
  }
  if (!parked_.empty()) std::remove(parked_.c_str());
  parked_.clear();
  touch();
  const std::lock_guard lock(mutex_);
  kept_ = {};
  idle_ = false;
  info_ = describe(*fresh);
  loaded_ = std::move(fresh);
}

void Engine::begin_as(Engine& origin) {
  const EngineLease theirs = origin.begin_reply();
  const EngineLease mine = take();
  const auto from = origin.loaded();
  auto fresh = std::make_shared<Loaded>(*from);
  forgetting_ = origin.forgetting_;
  const std::lock_guard lock(mutex_);
  info_ = describe(*fresh);
  loaded_ = std::move(fresh);
}

void Engine::unload(Unload states, const std::string& park_path) {
  const EngineLease lease = take();
  if (states == Unload::park && park_path.empty()) {
    throw Error(ErrorCode::invalid_argument, "Unload::park needs a file", "park_path");
  }
  unload_leased(states, park_path, false);
}

void Engine::unload_leased(Unload states, const std::string& park_path, bool idle) {
  std::shared_ptr<Loaded> old = held();
  KeptStates kept;
  if (old && states != Unload::drop) {
    kept.fingerprint = old->core->loaded().fingerprint;
    if (states == Unload::keep) {
      old->session.mark();
      kept.store = old->core->store();
      kept.family = old->session.family();
    }
    if (states == Unload::park && old->session.position() > 0) park(*old, park_path);
  }
  {
    const std::lock_guard lock(mutex_);
    loaded_.reset();
    if (old || states != Unload::keep) kept_ = std::move(kept);
    idle_ = idle;
  }
  cache_.reset();
  old.reset();
#ifdef __GLIBC__
  malloc_trim(0);  // small pieces between what was freed keep pages of the heap
#endif
}

/// To where the next turn begins, if that can be reached; else as far as the session is.
void Engine::park(Loaded& loaded, const std::string& path) {
  if (const std::string said = last_.said ? last_.said->text() : ""; !said.empty()) {
    std::vector<Message> messages = last_.messages;
    messages.push_back({Role::assistant, said});
    SyncReport ignored;
    try {
      read_ahead(loaded, messages, {}, last_.tools, last_.sampling, 1, ignored);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled && error.code() != ErrorCode::context_exceeded) throw;
    }
  }
  if (!loaded.session.usable()) return;  // cancelled on the way: there is no state to park
  loaded.session.save(path, {});
  parked_ = path;
}

void Engine::touch() {
  const std::lock_guard lock(mutex_);
  used_ = std::chrono::steady_clock::now();
}

bool Engine::is_idle_for(std::chrono::steady_clock::duration patience) const {
  const std::lock_guard lock(mutex_);
  return loaded_ && std::chrono::steady_clock::now() >= used_ + patience;
}

void Engine::watch() {
  try {
    watch_ = std::jthread([this](const std::stop_token& over) { watch_idleness(over); });
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::out_of_memory, std::string("no thread can be started: ") + error.what(),
                "idle_unload_seconds", "set it to 0, or allow the process more threads");
  }
}

/// Unloads, keeping states, what nobody has used for the time given.
void Engine::watch_idleness(const std::stop_token& over) {
  const auto patience = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(options_.chat.idle_unload_seconds));
  std::unique_lock lock(mutex_);
  while (!over.stop_requested()) {
    const auto due = std::max(used_ + patience, std::chrono::steady_clock::now() + patience / 8);
    over_.wait_until(lock, over, due, [] { return false; });
    lock.unlock();
    if (!over.stop_requested() && is_idle_for(patience)) {
      try {
        const std::lock_guard wait(idling_);
        const BusyLease lease(busy_, "chat");
        if (is_idle_for(patience)) unload_leased(Unload::keep, {}, true);  // no reply has come and gone meanwhile
      } catch (const std::exception&) {  // in use after all, or no memory to say so: later
        touch();
      }
    }
    lock.lock();
  }
}

std::shared_ptr<Loaded> Engine::loaded() {
  for (;;) {  // idleness may unload again at once what was loaded
    {
      const std::lock_guard lock(mutex_);
      if (loaded_) return loaded_;
      if (!idle_) throw Error(ErrorCode::not_loaded, "the model was unloaded", name_, "call load() first");
    }
    load();
  }
}

EngineLease Engine::begin_reply() {
  EngineLease lease = take();
  touch();
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    idle = idle_;
  }
  if (idle) load_leased();
  return lease;
}

void Engine::reset_state() {
  const EngineLease lease = begin_reply();
  loaded()->session.reset();
  last_ = {};
}

// ---- around replies

void Engine::fetch_system(Loaded& loaded, const PromptPlan& plan) {
  if (!cache_) return;
  cache_->fetch(loaded.session.store(), loaded.core->backend(),
                std::span(plan.tokens).first(static_cast<size_t>(plan.system_end)));
}

void Engine::end_reply(const ReplyStats& stats, const PromptPlan& plan, LastReply last, bool prefilled) noexcept {
  try {
    ReplyStats kept = stats;
    {
      const std::lock_guard lock(mutex_);
      stats_ = std::move(kept);
    }
    last_ = std::move(last);
    if (const auto now = held()) {
      now->session.pause();
      if (cache_ && prefilled)
        cache_->keep(now->session.store(), std::span(plan.tokens).first(static_cast<size_t>(plan.system_end)));
    }
  } catch (const std::exception&) {  // no memory, no disk
  }
  touch();
}

// ---- what can be asked at any time

bool Engine::is_loaded() const noexcept { return held() != nullptr; }

MemoryFootprint Engine::memory() const {
  std::shared_ptr<Loaded> now;
  KeptStates kept;
  {
    const std::lock_guard lock(mutex_);
    now = loaded_;
    kept = kept_;
  }
  MemoryFootprint footprint;
  if (!now) {
    if (kept.store) footprint.stored_states = kept.store->byte_size();
    return footprint;
  }
  footprint = now->session.memory();
  const backend::MemoryReport report = now->core->backend().memory();
  footprint.weights = report.weights;
  footprint.scratch += report.scratch;
  return footprint;
}

ModelInfo Engine::info() const {
  const std::lock_guard lock(mutex_);
  return info_;
}

ReplyStats Engine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace prosa::chat
