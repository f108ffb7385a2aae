// The public Chat and ReplyStream over chat::Engine and chat::ReplyRun.
#include "prosa/chat.h"

#include "base/check.h"
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
    case FinishReason::context_full: return "context_full";
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
    current = run->next();
  }

  std::unique_ptr<chat::ReplyRun> run;
  std::optional<Piece> current;
  bool begun = false;
};

ReplyStream::ReplyStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ReplyStream::~ReplyStream() = default;
ReplyStream::ReplyStream(ReplyStream&&) noexcept = default;
ReplyStream& ReplyStream::operator=(ReplyStream&&) noexcept = default;

ReplyStream::iterator ReplyStream::begin() {
  PROSA_CHECK(impl_ != nullptr);  // a moved-from stream
  if (!impl_->begun) {
    impl_->begun = true;
    impl_->advance();
  }
  return iterator(this);
}

const ReplyStats& ReplyStream::stats() const {
  PROSA_CHECK(impl_ != nullptr);
  return impl_->run->stats();
}

const Piece& ReplyStream::iterator::operator*() const {
  PROSA_CHECK(!at_end());
  return *stream_->impl_->current;
}
const Piece* ReplyStream::iterator::operator->() const { return &**this; }

ReplyStream::iterator& ReplyStream::iterator::operator++() {
  stream_->impl_->advance();
  return *this;
}

bool ReplyStream::iterator::at_end() const { return !stream_->impl_ || !stream_->impl_->current; }

Chat::Chat(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chat::~Chat() = default;
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;

Chat Chat::from_pretrained(const std::string& name, const LoadOptions& options) {
  auto impl = std::make_shared<Impl>(name, [name, options] { return chat::load_all(name, options); });
  impl->load();
  return Chat(std::move(impl));
}

ReplyStream Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                                  const std::vector<Tool>& tools) {
  return ReplyStream(
      std::make_unique<ReplyStream::Impl>(std::make_unique<chat::ReplyRun>(impl_, messages, sampling, tools)));
}

Reply Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                            const std::vector<Tool>& tools, const std::function<bool(const Piece&)>& on_piece) {
  chat::ReplyRun run(impl_, messages, sampling, tools);
  Reply reply;
  while (const std::optional<Piece> piece = run.next()) {
    switch (piece->channel) {
      case Channel::thought: reply.thought += piece->text; break;
      case Channel::speech: reply.text += piece->text; break;
      case Channel::tool_call: reply.tool_calls.push_back(*piece->call); break;
    }
    if (on_piece && !on_piece(*piece)) run.stop();
  }
  reply.stats = run.stats();
  return reply;
}

Reply Chat::generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                            const std::function<bool(const Piece&)>& on_piece) {
  return generate_stream(messages, sampling, {}, on_piece);
}

Reply Chat::generate(const std::vector<Message>& messages, const SamplingConfig& sampling,
                     const std::vector<Tool>& tools) {
  return generate_stream(messages, sampling, tools, nullptr);
}

void Chat::cancel() noexcept { impl_->cancel(); }
void Chat::reset_state() { impl_->reset_state(); }
void Chat::load() { impl_->load(); }
void Chat::unload() { impl_->unload(); }
bool Chat::is_loaded() const noexcept { return impl_->is_loaded(); }
MemoryFootprint Chat::memory_footprint() const { return impl_->memory(); }
ModelInfo Chat::info() const { return impl_->info(); }
ReplyStats Chat::stats() const { return impl_->stats(); }

std::vector<int32_t> Chat::tokenize(std::string_view text) const { return impl_->loaded()->tokenizer.encode(text); }

std::string Chat::render_prompt(const std::vector<Message>& messages, const SamplingConfig& sampling,
                                const std::vector<Tool>& tools) const {
  return chat::render_prompt(impl_->loaded()->thinking_default, messages, tools, sampling);
}

}  // namespace prosa
