// Loading and unloading, reading ahead, and the bookkeeping around a Chat.
#include "chat/engine.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/message_json.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

std::vector<int32_t> find_end_tokens(const ModelConfig& config, const ChannelTokens& tokens) {
  std::vector<int32_t> ids = config.eos_token_ids;
  ids.insert(ids.end(), tokens.end.begin(), tokens.end.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace

std::shared_ptr<Loaded> assemble(LoadedModel model, Tokenizer tokenizer, ThinkingDefault thinking_default) {
  const ModelConfig& config = model.backend->config();
  if (tokenizer.vocab_size() > config.vocab_size) {
    throw Error(
        ErrorCode::bad_tokenizer,
        fmt::format("its {} ids exceed the model's vocabulary of {}", tokenizer.vocab_size(), config.vocab_size),
        (model.folder / "tokenizer.json").string(), "take the tokenizer.json that belongs to this model");
  }
  ChannelTokens channel_tokens = ChannelTokens::of(tokenizer);
  std::vector<int32_t> end_tokens = find_end_tokens(config, channel_tokens);
  if (end_tokens.empty()) {
    throw Error(ErrorCode::bad_tokenizer, "no end token: neither <|im_end|> nor an eos_token_id",
                (model.folder / "tokenizer.json").string(), "a chat needs an instruct model with its own tokenizer");
  }
  std::vector<int32_t> thinking_end = tokenizer.encode(thinking_end_text());
  const std::shared_ptr<backend::Backend> backend = model.backend;
  const int64_t context = model.context;
  auto store = std::make_shared<runtime::StateStore>(model.state_store_bytes);
  // A session does not move: it is made in its place.
  return std::shared_ptr<Loaded>(new Loaded{std::move(model), std::move(tokenizer), thinking_default,
                                            std::move(channel_tokens), std::move(end_tokens), std::move(thinking_end),
                                            store, runtime::Session(backend, context, store)});
}

std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options) {
  LoadedModel model = load_model(name, options);
  Tokenizer tokenizer = Tokenizer::load(model.folder);
  const ThinkingDefault thinking_default = read_thinking_default(model.folder);
  return assemble(std::move(model), std::move(tokenizer), thinking_default);
}

Engine::Engine(std::string name, Loader loader, EngineOptions options)
    : name_(std::move(name)), loader_(std::move(loader)), options_(std::move(options)) {
  touch();
  if (options_.idle_unload_seconds > 0) {
    watch_ = std::jthread([this](const std::stop_token& over) { watch_idleness(over); });
  }
}

Engine::~Engine() = default;

std::shared_ptr<Loaded> Engine::held() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

// ---- loading and unloading

BusyLease Engine::take() {
  const std::lock_guard wait(idling_);
  return {busy_, "chat"};
}

void Engine::load() {
  const BusyLease lease = take();
  *options_.cancel = false;
  load_leased();
}

void Engine::load_leased() {
  if (is_loaded()) return;
  std::shared_ptr<Loaded> fresh = loader_();
  const runtime::FileIdentity identity{fresh->model.fingerprint, std::string(fresh->model.backend->snapshot_layout())};
  if (!options_.cache_dir.empty()) {
    cache_ = std::make_unique<runtime::DiskCache>(options_.cache_dir, options_.cache_bytes, identity);
  }
  const bool same_model = fresh->model.fingerprint == fingerprint_;
  if (kept_ && same_model) {
    fresh->store = kept_;
    fresh->session.share(kept_);
  }
  if (!parked_.empty() && same_model) {
    try {
      fresh->session.load(parked_, fingerprint_);
    } catch (const Error&) {  // somebody took the file away: only speed is lost
    }
  }
  if (!parked_.empty()) std::remove(parked_.c_str());
  parked_.clear();
  touch();
  const std::lock_guard lock(mutex_);
  kept_.reset();
  idle_ = false;
  info_ = fresh->model.info;
  loaded_ = std::move(fresh);
}

void Engine::unload(Unload states, const std::string& park_path) {
  const BusyLease lease = take();
  *options_.cancel = false;
  if (states == Unload::park && park_path.empty()) {
    throw Error(ErrorCode::invalid_argument, "Unload::park needs a file", "park_path");
  }
  unload_leased(states, park_path, false);
}

void Engine::unload_leased(Unload states, const std::string& park_path, bool idle) {
  std::shared_ptr<Loaded> old = held();
  if (old && states != Unload::drop) {
    fingerprint_ = old->model.fingerprint;
    if (states == Unload::keep) old->session.mark();
    if (states == Unload::park && old->session.position() > 0) {
      if (!last_.said.empty()) {  // to where the next turn begins, if it follows
        std::vector<Message> messages = last_.messages;
        messages.push_back({Role::assistant, last_.said});
        SyncReport ignored;
        read_ahead(*old, messages, {}, last_.tools, last_.sampling, 1, ignored);
      }
      old->session.save(park_path, fingerprint_, {});
      parked_ = park_path;
    }
  }
  {
    const std::lock_guard lock(mutex_);
    loaded_.reset();
    if (states != Unload::keep) kept_.reset();
    if (states == Unload::keep && old) kept_ = old->store;
    idle_ = idle;
  }
  cache_.reset();
  old.reset();
#ifdef __GLIBC__
  malloc_trim(0);  // small pieces between what was freed keep pages of the heap
#endif
}

void Engine::touch() {
  const std::lock_guard lock(mutex_);
  used_ = std::chrono::steady_clock::now();
}

bool Engine::is_idle_for(std::chrono::steady_clock::duration patience) const {
  const std::lock_guard lock(mutex_);
  return loaded_ && std::chrono::steady_clock::now() >= used_ + patience;
}

/// Unloads, keeping states, what nobody has used for the time given.
void Engine::watch_idleness(const std::stop_token& over) {
  const auto patience = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(options_.idle_unload_seconds));
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
      } catch (const Error&) {                                             // in use after all
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

BusyLease Engine::begin_reply() {
  BusyLease lease = take();
  *options_.cancel = false;
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
  const BusyLease lease = begin_reply();
  loaded()->session.reset();
  last_ = {};
}

// ---- replies

PromptPlan Engine::plan(const Loaded& loaded, std::span<const Message> messages, std::span<const Tool> tools,
                        const SamplingConfig& sampling) {
  const int64_t capacity = loaded.session.capacity();
  if (options_.context_policy == ContextPolicy::drop_oldest) {
    return forgetting_.plan(loaded.tokenizer, loaded.thinking_default, messages, tools, sampling, capacity);
  }
  PromptPlan plan = plan_prompt(loaded.tokenizer, loaded.thinking_default, messages, tools, sampling);
  check_fits(plan, capacity);
  return plan;
}

void Engine::fetch_system(Loaded& loaded, const PromptPlan& plan) {
  if (!cache_) return;
  cache_->fetch(loaded.session.store(), *loaded.model.backend,
                std::span(plan.tokens).first(static_cast<size_t>(plan.system_end)));
}

void Engine::end_reply(const ReplyStats& stats, const PromptPlan& plan, LastReply last, bool prefilled) noexcept {
  try {
    last_ = std::move(last);
    if (const auto loaded = held(); loaded && cache_ && prefilled) {
      cache_->keep(loaded->session.store(), std::span(plan.tokens).first(static_cast<size_t>(plan.system_end)));
    }
  } catch (const std::exception&) {  // no memory, no disk
  }
  touch();
  const std::lock_guard lock(mutex_);
  stats_ = stats;
}

// ---- reading ahead

SyncReport Engine::hear(std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                        const SamplingConfig& sampling, int slot) {
  const BusyLease lease = begin_reply();
  if (!utf8::is_valid(transcript)) throw Error(ErrorCode::invalid_argument, "is not UTF-8", "transcript");
  SyncReport report;
  try {
    read_ahead(*loaded(), history, transcript, tools, sampling, slot, report);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  touch();
  return report;
}

void Engine::read_ahead(Loaded& loaded, std::span<const Message> history, std::string_view transcript,
                        std::span<const Tool> tools, const SamplingConfig& sampling, int slot, SyncReport& report) {
  std::vector<Message> messages(history.begin(), history.end());
  messages.push_back({Role::user, std::string(transcript)});
  const PromptPlan whole = plan(loaded, messages, tools, sampling);  // its errors, and what is left out
  messages.pop_back();
  if (options_.context_policy == ContextPolicy::drop_oldest) messages = forgetting_.kept(messages);
  const HearingPlan hearing =
      plan_hearing(loaded.tokenizer, loaded.thinking_default, messages, transcript, tools, sampling);
  if (hearing.tokens.empty()) return;
  fetch_system(loaded, whole);
  runtime::Session& session = loaded.session;
  const std::span<const int32_t> tokens(hearing.tokens);
  // Pauses where every prompt with this turn pauses: the bits stay those of a cold run. Of transcripts, the last two
  // are kept for as long as the turn lasts.
  if (hearing.begin > 0 && session.common_with(tokens) < hearing.begin) {
    report =
        session.sync({tokens.first(static_cast<size_t>(hearing.begin)), hearing.cuts, options_.cancel.get(), false});
    session.mark();
  }
  const SyncReport rest = session.sync({tokens, {}, options_.cancel.get(), false});
  if (session.position() > hearing.begin) session.mark_in_slot(slot % 2);
  if (report.computed == 0) {
    report = rest;
  } else {
    report.computed += rest.computed;
  }
}

std::string Engine::heard(size_t characters) {
  const BusyLease lease = begin_reply();
  const auto now = loaded();
  if (last_.messages.empty()) throw Error(ErrorCode::invalid_argument, "there was no reply yet", "heard");
  size_t count = 0;
  size_t end = 0;
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(last_.said[at]) & 0xC0U) == 0x80U; };
  while (end < last_.said.size() && count < characters) {
    ++count;
    do ++end;
    while (end < last_.said.size() && continues(end));
  }
  if (count < characters) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} characters were heard of a reply of {}", characters, count), "heard");
  }
  last_.said.resize(end);
  std::vector<Message> messages = last_.messages;
  if (end > 0) {
    messages.push_back({Role::assistant, last_.said});
    SyncReport report;
    try {
      read_ahead(*now, messages, {}, last_.tools, last_.sampling, 0, report);
    } catch (const Error& error) {  // the text is right all the same
      if (error.code() != ErrorCode::cancelled && error.code() != ErrorCode::context_exceeded) throw;
    }
  }
  touch();
  return last_.said;
}

void Engine::save_session(const std::string& path, std::span<const Message> messages, const SamplingConfig& sampling,
                          std::span<const Tool> tools) {
  const BusyLease lease = begin_reply();
  const auto now = loaded();
  SyncReport report;
  read_ahead(*now, messages, {}, tools, sampling, 0, report);
  now->session.save(path, now->model.fingerprint,
                    {{"messages", to_json(messages).dump()}, {"seed", std::to_string(stats().seed)}});
  touch();
}

std::vector<Message> Engine::load_session(const std::string& path) {
  const BusyLease lease = begin_reply();
  const auto now = loaded();
  const auto notes = now->session.load(path, now->model.fingerprint);
  last_ = {};
  {
    ReplyStats stats;
    if (const auto seed = notes.find("seed"); seed != notes.end()) {
      std::from_chars(seed->second.data(), seed->second.data() + seed->second.size(), stats.seed);
    }
    const std::lock_guard lock(mutex_);
    stats_ = stats;
  }
  const auto messages = notes.find("messages");
  if (messages == notes.end()) return {};
  try {
    return messages_from_json(parse_json(messages->second, "messages"));
  } catch (const Error& error) {
    throw Error(ErrorCode::bad_session, std::string("its messages can't be read: ") + error.what(), path);
  }
}

// ---- what can be asked at any time

bool Engine::is_loaded() const noexcept { return held() != nullptr; }

MemoryFootprint Engine::memory() const {
  std::shared_ptr<Loaded> now;
  std::shared_ptr<runtime::StateStore> kept;
  {
    const std::lock_guard lock(mutex_);
    now = loaded_;
    kept = kept_;
  }
  MemoryFootprint footprint;
  if (!now) {
    if (kept) footprint.stored_states = kept->byte_size();
    return footprint;
  }
  footprint = now->session.memory();
  const backend::MemoryReport report = now->model.backend->memory();
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
