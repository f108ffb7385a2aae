// Which channel a reply is in: a small state machine that takes token ids with their text and gives typed pieces
// (thought, speech, tool calls).
//
// It starts from the ids of the tags in the tokenizer, not from text: text that merely looks like a tag never switches
// channels. Only for tags a tokenizer has no id for, the text is matched, across token borders.
// Not the sampler, not the stop rules, and it does not know when a reply is over, except through finish().
//
// Rules:
// - <think> opens a thought from speech; </think> ends it. Line breaks right after either belong to the template.
// - The id of <tool_call> opens a call from speech and from a thought (as text: from speech only); after
//   </tool_call> the channel it was opened from goes on, so that a thought interrupted by a call is never spoken.
// - White space at the end of a channel's text is held back until more text of that channel follows, else dropped.
// - Stray closing tags are dropped. A call that is cut off or malformed is a CallError, never speech.
// - Inside a call everything but </tool_call>, <tool_call> and end tokens is the call's text.
// A value: a copy shares tags and tools and costs the text it holds.
// Invariant: every byte pushed becomes part of exactly one of thought, speech, call text or dropped tags and margins.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tool_calls.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// The ids of the tags; unset where the tokenizer has none.
struct ChannelTokens {
  std::optional<int32_t> think_open;   // <think>
  std::optional<int32_t> think_close;  // </think>
  std::optional<int32_t> call_open;    // <tool_call>
  std::optional<int32_t> call_close;   // </tool_call>
  std::vector<int32_t> end;            // <|im_end|>, <|endoftext|>: their text is dropped

  static ChannelTokens of(const Tokenizer& tokenizer);
  [[nodiscard]] bool is_end(int32_t id) const noexcept;
};

/// The channel a reply to this rendered prompt begins in: `thought` when it ends inside an open think block.
Channel first_channel(std::string_view prompt);

/// What is fed to the model, as if it had sampled it, to close a think block ("\n</think>\n\n"). After "<think>\n"
/// with no thought at all it gives the very block that the template writes when thinking is off.
std::string_view thinking_end_text() noexcept;

class ChannelSplitter {
 public:
  /// `exact`: speech is given out as it is: its margins, too, but for two line breaks behind a thought, and what only
  /// looks like a tag.
  ChannelSplitter(ChannelTokens tokens, Channel first, ToolCallParser calls = {}, bool exact = false);

  /// One token, sampled or forced: its id and the text StreamDecoder gave for it (whole characters, maybe empty; for a
  /// tag with or without the tag's own text). Appends to `out`.
  void push(int32_t id, std::string_view text, std::vector<Piece>& out);
  /// The reply is over: StreamDecoder's last text belongs into a push(-1, text, out) before. A call still open is
  /// taken if it is whole, else it is an error.
  void finish(std::vector<Piece>& out);

  /// The channel the next token belongs to.
  [[nodiscard]] Channel channel() const noexcept { return channel_; }
  /// Tokens in think blocks so far, forced ones and the closing tag included.
  [[nodiscard]] int64_t thinking_tokens() const noexcept { return thinking_tokens_; }
  /// The think block is open and has used up its budget: feed thinking_end_text() now. 0: at once; negative: never.
  [[nodiscard]] bool must_close_thinking(int64_t max_thinking_tokens) const noexcept;
  /// Finished calls so far.
  [[nodiscard]] int64_t calls() const noexcept { return calls_; }
  /// Calls that could not be read, in order.
  [[nodiscard]] const std::vector<CallError>& errors() const noexcept { return errors_; }

 private:
  enum Tag : uint8_t { think_open, think_close, call_open, call_close, end_of_reply, no_tag };
  struct Rules {
    ChannelTokens tokens;
    ToolCallParser parser;
    bool exact = false;
  };
  struct Margin {             // the white space around one channel's text
    bool started = false;     // some text was given out; before that, line breaks are dropped
    bool drop_space = false;  // `held` already separates what comes from what was
    std::string held;         // trailing white space, until more text follows
  };

  [[nodiscard]] Tag tag_of(int32_t id) const noexcept;
  [[nodiscard]] bool matches_text(Tag tag) const noexcept;
  [[nodiscard]] Tag tag_in_front(std::string_view text) const noexcept;
  void push_text(std::string_view text, std::vector<Piece>& out);
  void emit(std::string_view text, std::vector<Piece>& out);
  void emit_exactly(std::string_view text, std::vector<Piece>& out);
  void apply(Tag tag, std::vector<Piece>& out);
  void enter(Channel channel);
  void close_call(bool cut_off, std::vector<Piece>& out);

  std::shared_ptr<const Rules> rules_;
  Channel channel_;
  Channel before_call_ = Channel::speech;  // where </tool_call> leads back to
  size_t template_breaks_ = 0;             // line breaks behind a thought that belong to the template
  std::array<Margin, 2> margins_;          // of thought and speech
  std::string partial_tag_;                // text that may begin a tag without an id
  std::string call_text_;
  bool call_too_long_ = false;
  int64_t thinking_tokens_ = 0;
  int64_t calls_ = 0;
  std::vector<CallError> errors_;
};

}  // namespace prosa::chat
