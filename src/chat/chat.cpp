// The public Chat and ReplyStream over chat::Engine and chat::ReplyRun.
#include "prosa/chat.h"

#include <fmt/format.h>

#include "base/boundary.h"
#include "base/lock_beside.h"
#include "chat/check_text.h"
#include "chat/choice.h"
#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "chat/reply_run.h"

namespace prosa {

std::string_view to_string(Channel channel) noexcept {
  switch (channel) {
    case Channel::thought: return "thought";
    case Channel::speech: return "speech";
    case Channel::tool_call: return "tool_call";
  }
  return "unknown";
}

std::string_view to_string(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::stop_string: return "stop_string";
    case FinishReason::length: return "length";
    case FinishReason::tool_calls: return "tool_calls";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::deadline: return "deadline";
    case FinishReason::context_full: return "context_full";
    case FinishReason::error: return "error";
  }
  return "unknown";
}

struct Chat::Impl : chat::Engine {
  using Engine::Engine;
};

struct ReplyStream::Impl {
  explicit Impl(std::unique_ptr<chat::ReplyRun> reply) : run(std::move(reply)) {}

  void advance() {
    current.reset();  // stays empty when next() throws
    at_boundary([&] { current = run->next(); });
  }

  std::unique_ptr<chat::ReplyRun> run;
  std::optional<Piece> current;
  bool begun = false;
};

ReplyStream::ReplyStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ReplyStream::~ReplyStream() = default;
ReplyStream::ReplyStream(ReplyStream&&) noexcept = default;
ReplyStream& ReplyStream::operator=(ReplyStream&&) noexcept = default;

ReplyStream::Impl& ReplyStream::impl() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "the stream was moved from", "reply stream");
  return *impl_;
}

ReplyStream::iterator ReplyStream::begin() {
  if (!impl().begun) {
    impl().begun = true;
    impl().advance();
  }
  return iterator(this);
}

const ReplyStats& ReplyStream::stats() const { return impl().run->stats(); }

const Piece& ReplyStream::iterator::operator*() const {
  const std::optional<Piece>& current = stream_->impl().current;
  if (!current) throw Error(ErrorCode::invalid_argument, "the reply has no piece here: it has ended", "reply stream");
  return *current;
}
const Piece* ReplyStream::iterator::operator->() const { return &**this; }

ReplyStream::iterator& ReplyStream::iterator::operator++() {
  stream_->impl().advance();
  return *this;
}

bool ReplyStream::iterator::at_end() const { return !stream_->impl_ || !stream_->impl_->current; }

Chat::Chat(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chat::~Chat() = default;
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;

Chat::Impl& Chat::impl() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "the chat was moved from", "chat");
  return *impl_;
}

namespace {

/// `options` for a loader that looks at what cancel() sets, too.
LoadOptions cancellable(const LoadOptions& options, const std::shared_ptr<chat::Cancellation>& cancel,
                        const std::string& name) {
  LoadOptions load = options;
  load.progress = [progress = options.progress, cancel, name](double fraction, std::string_view what) {
    if (cancel->requested()) throw Error(ErrorCode::cancelled, "loading was cancelled", name);
    if (progress) progress(fraction, what);
  };
  load.download = [download = options.download, cancel, name](const DownloadProgress& progress) {
    if (cancel->requested()) throw Error(ErrorCode::cancelled, "loading was cancelled", name);
    if (download) download(progress);
  };
  return load;
}

}  // namespace

Chat Chat::from_pretrained(const std::string& name, const LoadOptions& options) {
  return at_boundary([&] { return load_from(name, options); });
}

Chat Chat::load_from(const std::string& name, const LoadOptions& options) {
  chat::EngineOptions engine;
  engine.chat = {options.context_policy, options.cache_dir, options.cache_bytes, options.idle_unload_seconds};
  const auto loader = [name, load = cancellable(options, engine.cancellation, name),
                       first = std::make_shared<std::atomic<bool>>(true)](const chat::KeptStates& kept) mutable {
    if (!first->exchange(false)) load.cancel = nullptr;  // the caller's flag need not outlive from_pretrained()
    return chat::load_all(name, load, kept);
  };
  auto impl = std::make_shared<Impl>(name, loader, std::move(engine));
  impl->load();
  return Chat(std::move(impl));
}

namespace {

/// Loads again from whoever still holds the model.
chat::Engine::Loader loader_on(const std::shared_ptr<ModelCore>& core) {
  return [held = std::weak_ptr<ModelCore>(core)](const chat::KeptStates& kept) {
    const std::shared_ptr<ModelCore> now = held.lock();
    if (!now) throw Error(ErrorCode::not_loaded, "nobody holds the model any more", "model", "keep a Model of it");
    return chat::load_on(now, kept);
  };
}

}  // namespace

Chat::Chat(const Model& model, const ChatOptions& options) {
  at_boundary([&] {
    static_cast<void>(model.core());  // its error
    chat::EngineOptions engine;
    engine.chat = options;
    impl_ = std::make_shared<Impl>(model.info().path, loader_on(model.core_), std::move(engine));
    impl_->load();
  });
}

Chat Chat::fork() const {
  return at_boundary([&] {
    chat::EngineOptions engine;
    engine.chat = impl().options();
    auto twin = std::make_shared<Impl>(impl_->name(), loader_on(impl_->loaded()->core), std::move(engine));
    twin->begin_as(*impl_);
    return Chat(std::move(twin));
  });
}

Model Chat::model() const {
  return at_boundary([&] { return Model(impl().loaded()->core); });
}

ReplyStream Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                                  const std::vector<Tool>& tools) {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, sampling, tools);
    return ReplyStream(
        std::make_unique<ReplyStream::Impl>(std::make_unique<chat::ReplyRun>(impl_, messages, sampling, tools)));
  });
}

Reply Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                            const std::vector<Tool>& tools, const std::function<bool(const Piece&)>& on_piece) {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, sampling, tools);
    chat::ReplyRun run(impl_, messages, sampling, tools);
    Reply reply;
    while (const std::optional<Piece> piece = run.next()) {
      switch (piece->channel) {
        case Channel::thought: reply.thought += piece->text; break;
        case Channel::speech: reply.text += piece->text; break;
        case Channel::tool_call: reply.tool_calls.push_back(*piece->call); break;
      }
      if (on_piece && !call_back(on_piece, *piece)) run.stop();
    }
    reply.stats = run.stats();
    return reply;
  });
}

Reply Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                            const std::function<bool(const Piece&)>& on_piece) {
  return generate_stream(messages, sampling, {}, on_piece);
}

Reply Chat::generate(const std::vector<Message>& messages, const SamplingConfig& sampling,
                     const std::vector<Tool>& tools) {
  return generate_stream(messages, sampling, tools, nullptr);
}

Choice Chat::choose(const std::vector<Message>& messages, const std::vector<std::string>& options,
                    const ChooseConfig& config, const std::vector<Tool>& tools) {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, {}, tools);
    return chat::choose(*impl_, messages, options, config, tools);
  });
}

struct Turn::Impl {
  std::shared_ptr<chat::Engine> engine;
  std::vector<Message> history;
  SamplingConfig sampling;
  std::vector<Tool> tools;
  std::string heard = {};  // last
  int calls = 0;
  bool committed = false;

  void check_open() const {
    if (!committed) return;
    throw Error(ErrorCode::invalid_argument, "the turn was committed", "turn", "begin another with Chat::begin_turn()");
  }
};

Turn::Turn(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Turn::~Turn() = default;
Turn::Turn(Turn&&) noexcept = default;
Turn& Turn::operator=(Turn&&) noexcept = default;

Turn::Impl& Turn::impl() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "the turn was moved from", "turn");
  return *impl_;
}

SyncReport Turn::hear(std::string_view transcript) {
  return at_boundary([&] {
    impl().check_open();
    chat::check_text(transcript, "transcript");
    impl_->heard = transcript;
    return impl_->engine->hear(impl_->history, transcript, impl_->tools, impl_->sampling, impl_->calls++ % 2);
  });
}

TurnEnding Turn::ending() {
  return at_boundary([&] {
    impl().check_open();
    TurnEnding ending;
    ending.probability = impl_->engine->ending_probability(impl_->history, impl_->heard, impl_->tools, impl_->sampling,
                                                           (impl_->calls + 1) % 2, ending.computed_tokens);
    return ending;
  });
}

ReplyStream Turn::commit(std::string_view transcript, std::string_view guess) {
  return at_boundary([&] {
    impl().check_open();
    chat::check_text(transcript, "transcript");
    chat::check_text(guess, "guess");
    std::vector<Message> messages = impl_->history;
    messages.push_back({Role::user, std::string(transcript)});
    auto stream = std::make_unique<ReplyStream::Impl>(
        std::make_unique<chat::ReplyRun>(impl_->engine, messages, impl_->sampling, impl_->tools, guess));
    impl_->committed = true;
    return ReplyStream(std::move(stream));
  });
}

Turn Chat::begin_turn(std::vector<Message> history, const SamplingConfig& sampling, std::vector<Tool> tools) {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(history, sampling, tools);
    return Turn(std::make_unique<Turn::Impl>(Turn::Impl{impl_, std::move(history), sampling, std::move(tools)}));
  });
}

std::string Chat::heard(size_t characters) {
  return at_boundary([&] { return impl().heard(characters); });
}

void Chat::save_session(const std::string& path, const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::vector<Tool>& tools) {
  at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, sampling, tools);
    const LockBeside lock(path, LockFor::writing);
    impl_->save_session(path, messages, sampling, tools);
  });
}
void Chat::save_session(const SessionLock& file, const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::vector<Tool>& tools) {
  at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, sampling, tools);
    file.require_held();
    impl_->save_session(file.path(), messages, sampling, tools);
  });
}
std::vector<Message> Chat::load_session(const std::string& path, SessionAccess access) {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    std::optional<LockBeside> lock;
    if (access == SessionAccess::exclusive) lock.emplace(path, LockFor::reading);
    return impl_->load_session(path);
  });
}
std::vector<Message> Chat::load_session(const SessionLock& file) {
  return at_boundary([&] { return impl().load_session(file.path()); });
}

void Chat::cancel() noexcept {
  if (impl_) impl_->cancel();
}
void Chat::reset_state() {
  at_boundary([&] { impl().reset_state(); });
}
void Chat::load() {
  at_boundary([&] { impl().load(); });
}
void Chat::unload(Unload states, const std::string& park_path) {
  at_boundary([&] {
    static_cast<void>(impl());  // its error
    std::optional<LockBeside> lock;
    if (states == Unload::park && !park_path.empty()) lock.emplace(park_path, LockFor::writing);
    impl_->unload(states, park_path);
  });
}
bool Chat::is_loaded() const noexcept { return impl_ && impl_->is_loaded(); }
MemoryFootprint Chat::memory_footprint() const {
  return at_boundary([&] { return impl().memory(); });
}
ModelInfo Chat::info() const {
  return at_boundary([&] { return impl().info(); });
}
ReplyStats Chat::stats() const {
  return at_boundary([&] { return impl().stats(); });
}

std::vector<int32_t> Chat::tokenize(std::string_view text, ControlTokens control) const {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_text(text, "text");
    const auto now = impl_->loaded();
    const Tokenizer& tokenizer = now->text->tokenizer;
    return control == ControlTokens::read ? tokenizer.encode(text) : tokenizer.encode_given(text);
  });
}

std::string Chat::detokenize(const std::vector<int32_t>& tokens) const {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    const auto now = impl_->loaded();
    const int64_t vocabulary = now->core->loaded().info.vocab_size;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= 0 && tokens[i] < vocabulary) continue;
      throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be 0 to {}", tokens[i], vocabulary - 1),
                  fmt::format("tokens[{}]", i));
    }
    return now->text->tokenizer.decode(tokens);
  });
}

std::string Chat::render_prompt(const std::vector<Message>& messages, const SamplingConfig& sampling,
                                const std::vector<Tool>& tools) const {
  return at_boundary([&] {
    static_cast<void>(impl());  // its error
    chat::check_request(messages, sampling, tools);
    return chat::render_prompt(impl_->loaded()->text->chat_template, messages, tools, sampling).text();
  });
}

}  // namespace prosa
