// Loading and unloading, and the small bookkeeping around a Chat.
#include "chat/engine.h"

#include <algorithm>

#include <fmt/format.h>

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
  auto checkpoints = std::make_shared<session::Checkpoints>(model.checkpoint_bytes);
  // A session does not move: it is made in its place.
  return std::shared_ptr<Loaded>(new Loaded{std::move(model), std::move(tokenizer), thinking_default,
                                            std::move(channel_tokens), std::move(end_tokens), std::move(thinking_end),
                                            session::Session(backend, context, std::move(checkpoints))});
}

std::shared_ptr<Loaded> load_all(const std::string& name, const LoadOptions& options) {
  LoadedModel model = load_model(name, options);
  Tokenizer tokenizer = Tokenizer::load(model.folder);
  const ThinkingDefault thinking_default = read_thinking_default(model.folder);
  return assemble(std::move(model), std::move(tokenizer), thinking_default);
}

Engine::Engine(std::string name, Loader loader) : name_(std::move(name)), loader_(std::move(loader)) {}

void Engine::load() {
  const BusyLease lease(busy_, "chat");
  if (is_loaded()) return;
  std::shared_ptr<Loaded> fresh = loader_();
  const std::lock_guard lock(mutex_);
  info_ = fresh->model.info;
  loaded_ = std::move(fresh);
}

void Engine::unload() {
  const BusyLease lease(busy_, "chat");
  std::shared_ptr<Loaded> old;  // freed outside of the lock
  const std::lock_guard lock(mutex_);
  old.swap(loaded_);
}

void Engine::reset_state() {
  const BusyLease lease(busy_, "chat");
  loaded()->session.reset();
}

bool Engine::is_loaded() const noexcept {
  const std::lock_guard lock(mutex_);
  return loaded_ != nullptr;
}

std::shared_ptr<Loaded> Engine::loaded() const {
  const std::lock_guard lock(mutex_);
  if (!loaded_) throw Error(ErrorCode::not_loaded, "the model was unloaded", name_, "call load() first");
  return loaded_;
}

MemoryFootprint Engine::memory() const {
  std::shared_ptr<Loaded> held;
  {
    const std::lock_guard lock(mutex_);
    held = loaded_;
  }
  if (!held) return {};
  MemoryFootprint footprint = held->session.memory();
  const backend::MemoryReport report = held->model.backend->memory();
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

void Engine::set_stats(const ReplyStats& stats) {
  const std::lock_guard lock(mutex_);
  stats_ = stats;
}

BusyLease Engine::begin_reply() {
  BusyLease lease(busy_, "chat");
  cancel_ = false;
  return lease;
}

}  // namespace prosa::chat
