// The reply channel splitter (channels.h): tags by id or by text -> push_text -> emit, which keeps the margins.
// All text of a reply passes through emit exactly once.
#include "chat/channels.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace prosa::chat {
namespace {

constexpr std::array<std::string_view, 4> tag_texts = {"<think>", "</think>", "<tool_call>", "</tool_call>"};
constexpr std::string_view white_space = " \t\r\n\f\v";
constexpr size_t kMaxCallBytes = 1U << 20;

/// Length of the longest end of `text` that `tag` begins with, but not all of it.
size_t begun(std::string_view text, std::string_view tag) noexcept {
  for (size_t length = std::min(text.size(), tag.size() - 1); length > 0; --length) {
    if (text.ends_with(tag.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

ChannelTokens ChannelTokens::of(const Tokenizer& tokenizer) {
  ChannelTokens tokens;
  tokens.think_open = tokenizer.token_id(tag_texts[0]);
  tokens.think_close = tokenizer.token_id(tag_texts[1]);
  tokens.call_open = tokenizer.token_id(tag_texts[2]);
  tokens.call_close = tokenizer.token_id(tag_texts[3]);
  for (const std::string_view text : {"<|im_end|>", "<|endoftext|>"}) {
    if (const auto id = tokenizer.token_id(text)) tokens.end.push_back(*id);
  }
  return tokens;
}

bool ChannelTokens::is_end(int32_t id) const noexcept { return std::find(end.begin(), end.end(), id) != end.end(); }

Channel first_channel(std::string_view prompt) {
  constexpr std::string_view turn = "<|im_start|>assistant\n";
  const size_t last = prompt.rfind("<|im_start|>");
  if (last == std::string_view::npos || !prompt.substr(last).starts_with(turn)) return Channel::speech;
  const std::string_view begin = prompt.substr(last + turn.size());
  const bool open = begin.starts_with("<think>") && begin.find("</think>") == std::string_view::npos &&
                    begin.find("<|im_end|>") == std::string_view::npos;
  return open ? Channel::thought : Channel::speech;
}

std::string_view thinking_end_text() noexcept { return "\n</think>\n\n"; }

ChannelSplitter::ChannelSplitter(ChannelTokens tokens, Channel first, ToolCallParser calls, bool exact)
    : rules_(std::make_shared<const Rules>(Rules{std::move(tokens), std::move(calls), exact})), channel_(first) {
  PROSA_CHECK(first != Channel::tool_call);
}

ChannelSplitter::Tag ChannelSplitter::tag_of(int32_t id) const noexcept {
  if (id < 0) return no_tag;
  if (id == rules_->tokens.think_open) return think_open;
  if (id == rules_->tokens.think_close) return think_close;
  if (id == rules_->tokens.call_open) return call_open;
  if (id == rules_->tokens.call_close) return call_close;
  return rules_->tokens.is_end(id) ? end_of_reply : no_tag;
}

/// Whether the tag is looked for in the text of the present channel. A thought may talk about calls.
bool ChannelSplitter::matches_text(Tag tag) const noexcept {
  if (rules_->exact && channel_ == Channel::speech) return false;
  switch (tag) {
    case think_open: return !rules_->tokens.think_open && channel_ != Channel::tool_call;
    case think_close: return !rules_->tokens.think_close && channel_ != Channel::tool_call;
    case call_open: return !rules_->tokens.call_open && channel_ == Channel::speech;
    case call_close: return !rules_->tokens.call_close && channel_ != Channel::thought;
    default: return false;
  }
}

void ChannelSplitter::push(int32_t id, std::string_view text, std::vector<Piece>& out) {
  if (channel_ == Channel::thought && id >= 0) ++thinking_tokens_;
  const Tag tag = tag_of(id);
  if (tag == no_tag) {
    push_text(text, out);
    return;
  }
  // In front of a tag's own text there may be what the decoder had left of a character before it.
  if (tag == end_of_reply) {
    text = text.substr(0, std::min(text.rfind("<|"), text.size()));
  } else if (text.ends_with(tag_texts[tag])) {
    text.remove_suffix(tag_texts[tag].size());
  }
  push_text(text, out);
  emit(std::exchange(partial_tag_, {}), out);
  apply(tag, out);
}

/// The tag that `text` begins with, if it is looked for in the present channel.
ChannelSplitter::Tag ChannelSplitter::tag_in_front(std::string_view text) const noexcept {
  for (const Tag tag : {think_open, think_close, call_open, call_close}) {
    if (text.starts_with(tag_texts[tag]) && matches_text(tag)) return tag;
  }
  return no_tag;
}

void ChannelSplitter::push_text(std::string_view text, std::vector<Piece>& out) {
  std::string buffer = std::exchange(partial_tag_, {});
  buffer += text;
  std::string_view rest = buffer;
  for (size_t at = rest.find('<'); at != std::string_view::npos; at = rest.find('<', at)) {
    const Tag tag = tag_in_front(rest.substr(at));
    if (tag == no_tag) {
      ++at;
      continue;
    }
    emit(rest.substr(0, at), out);
    rest.remove_prefix(at + tag_texts[tag].size());
    apply(tag, out);
    at = 0;
  }
  size_t held = 0;
  for (const Tag tag : {think_open, think_close, call_open, call_close}) {
    if (matches_text(tag)) held = std::max(held, begun(rest, tag_texts[tag]));
  }
  emit(rest.substr(0, rest.size() - held), out);
  partial_tag_ = rest.substr(rest.size() - held);
}

/// Text of the present channel, without its margins.
void ChannelSplitter::emit(std::string_view text, std::vector<Piece>& out) {
  if (channel_ == Channel::tool_call) {
    if (call_text_.size() + text.size() > kMaxCallBytes)
      call_too_long_ = true;
    else
      call_text_ += text;
    return;
  }
  if (rules_->exact && channel_ == Channel::speech) return emit_exactly(text, out);
  Margin& margin = margins_[channel_ == Channel::thought ? 0 : 1];
  if (margin.drop_space || (!margin.started && margin.held.empty())) {
    const size_t first = text.find_first_not_of(margin.drop_space ? white_space : "\r\n");
    text.remove_prefix(std::min(first, text.size()));
  }
  const size_t last = text.find_last_not_of(white_space);
  if (last == std::string_view::npos) {
    margin.held += text;
    return;
  }
  Piece piece{channel_, std::exchange(margin.held, std::string(text.substr(last + 1)))};
  piece.text += text.substr(0, last + 1);
  out.push_back(std::move(piece));
  margin.started = true;
  margin.drop_space = false;
}

void ChannelSplitter::emit_exactly(std::string_view text, std::vector<Piece>& out) {
  while (template_breaks_ > 0 && text.starts_with('\n')) {
    text.remove_prefix(1);
    --template_breaks_;
  }
  if (text.empty()) return;
  template_breaks_ = 0;
  out.push_back({Channel::speech, std::string(text)});
}

void ChannelSplitter::enter(Channel channel) {
  if (channel_ == Channel::thought && channel == Channel::speech) template_breaks_ = 2;
  channel_ = channel;
  if (channel == Channel::tool_call) return;
  Margin& margin = margins_[channel == Channel::thought ? 0 : 1];
  margin.drop_space = !margin.held.empty();
}

void ChannelSplitter::apply(Tag tag, std::vector<Piece>& out) {
  if (channel_ == Channel::tool_call) {
    switch (tag) {
      case call_close: close_call(false, out); break;
      case call_open:
        close_call(true, out);
        enter(Channel::tool_call);
        break;
      case end_of_reply: close_call(true, out); break;
      default: emit(tag_texts[tag], out);
    }
    return;
  }
  if (tag == call_open) {
    before_call_ = channel_;
    enter(Channel::tool_call);
  } else if (tag == think_open && channel_ == Channel::speech) {
    enter(Channel::thought);
  } else if (tag == think_close && channel_ == Channel::thought) {
    enter(Channel::speech);
  }
}

void ChannelSplitter::close_call(bool cut_off, std::vector<Piece>& out) {
  const std::string text = std::exchange(call_text_, {});
  enter(before_call_);
  if (std::exchange(call_too_long_, false)) {
    errors_.push_back({"the call is longer than a megabyte", text});
    return;
  }
  auto result = rules_->parser.parse(text, cut_off);
  if (auto* error = std::get_if<CallError>(&result)) {
    if (cut_off) error->message = "the call is cut off: " + error->message;
    errors_.push_back(std::move(*error));
    return;
  }
  for (ToolCall& call : std::get<std::vector<ToolCall>>(result)) {
    out.push_back(Piece{Channel::tool_call, {}, std::move(call)});
    ++calls_;
  }
}

void ChannelSplitter::finish(std::vector<Piece>& out) {
  emit(std::exchange(partial_tag_, {}), out);
  if (channel_ == Channel::tool_call) close_call(true, out);
}

bool ChannelSplitter::must_close_thinking(int64_t max_thinking_tokens) const noexcept {
  return channel_ == Channel::thought && max_thinking_tokens >= 0 && thinking_tokens_ >= max_thinking_tokens;
}

}  // namespace prosa::chat
