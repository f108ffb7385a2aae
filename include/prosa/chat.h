// Conversations with a Qwen3.5 model: messages in, a typed stream of pieces out.
//
// The caller always gives the whole message list; Chat finds the cheapest way there (it keeps KV cache and recurrent
// state of the conversation so far and re-reads only what is new). Every piece of a reply says which channel it belongs
// to: a voice pipeline speaks `speech` and nothing else.
//
// Thread safety: one reply at a time per Chat: a second thread gets Error(busy). cancel() may come from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"
#include "prosa/model.h"
#include "prosa/sampling.h"

namespace prosa {

enum class Role { system, user, assistant, tool };

/// A call the model made (or, in history, made earlier).
struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object, e.g. {"city": "Oslo", "days": 3}
};

struct Message {
  Role role = Role::user;
  std::string content;                    // UTF-8
  std::string reasoning_content = {};     // assistant history: the thoughts, if they are kept
  std::vector<ToolCall> tool_calls = {};  // assistant history
};

/// A tool the model may call: the JSON object of OpenAI's `tools` list, as text:
/// {"type": "function", "function": {"name": …, "description": …, "parameters": {JSON schema}}}
struct Tool {
  std::string json;
};

enum class Channel {
  thought,    // inside <think> … </think>; never spoken
  speech,     // the answer
  tool_call,  // one piece per finished call; Piece::call is set, text is empty
};
std::string_view to_string(Channel channel) noexcept;

/// A part of a reply. Text is always whole UTF-8 characters.
struct Piece {
  Channel channel = Channel::speech;
  std::string text;
  std::optional<ToolCall> call = {};
};

enum class FinishReason { stop, stop_string, length, tool_calls, cancelled, context_full };
std::string_view to_string(FinishReason reason) noexcept;

/// What a reply cost. Times are wall-clock.
struct ReplyStats {
  int64_t prompt_tokens = 0;     // the whole prompt
  int64_t cached_tokens = 0;     // of these: already in the state, not computed again
  int64_t generated_tokens = 0;  // sampled or forced, thinking and end token included
  int64_t thinking_tokens = 0;   // of these: in the think block
  double prefill_ms = 0;         // computing prompt_tokens - cached_tokens
  double first_token_ms = 0;     // from the call to the first token
  double decode_ms = 0;
  double decode_tok_s = 0;  // decode steps a second
  uint64_t seed = 0;        // the one used
  FinishReason finish = FinishReason::stop;
  std::vector<std::string> tool_call_errors = {};  // calls the model wrote that can't be read: why; never spoken
};

struct Reply {
  std::string text;     // the speech channel
  std::string thought;  // the thought channel
  std::vector<ToolCall> tool_calls;
  ReplyStats stats;
};

/// A reply under way: a single-pass range of pieces. Tokens are computed as the range is advanced, on the caller's
/// thread. Destroying it early ends the reply there; the conversation stays usable.
class ReplyStream {
 public:
  class iterator {
   public:
    using value_type = Piece;
    using difference_type = std::ptrdiff_t;
    using reference = const Piece&;
    using pointer = const Piece*;
    using iterator_category = std::input_iterator_tag;
    const Piece& operator*() const;
    const Piece* operator->() const;
    iterator& operator++();
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t) { return it.at_end(); }

   private:
    friend class ReplyStream;
    explicit iterator(ReplyStream* stream) : stream_(stream) {}
    [[nodiscard]] bool at_end() const;
    ReplyStream* stream_;
  };

  ~ReplyStream();
  ReplyStream(ReplyStream&&) noexcept;
  ReplyStream& operator=(ReplyStream&&) noexcept;

  iterator begin();
  std::default_sentinel_t end() const { return {}; }
  /// So far; complete once the range has ended.
  [[nodiscard]] const ReplyStats& stats() const;

 private:
  friend class Chat;
  struct Impl;
  explicit ReplyStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Chat {
 public:
  /// `name`: a folder, a hub name (owner/name[:subfolder]), or "" for the embedded model.
  static Chat from_pretrained(const std::string& name = {}, const LoadOptions& options = {});

  ~Chat();
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;

  /// The whole reply. Errors: invalid_argument, bad_template, context_exceeded, not_loaded, busy.
  Reply generate(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                 const std::vector<Tool>& tools = {});
  /// The reply as a range of pieces.
  ReplyStream generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                              const std::vector<Tool>& tools = {});
  /// The reply through a callback; return false to end it. Returns the whole reply.
  Reply generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::vector<Tool>& tools, const std::function<bool(const Piece&)>& on_piece);
  Reply generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::function<bool(const Piece&)>& on_piece);

  /// Ends the reply under way, from any thread: within one layer of prefill or one decode step.
  void cancel() noexcept;
  /// Forgets the conversation's cached state (not the model).
  void reset_state();

  void load();    // again after unload(); no effect when loaded
  void unload();  // frees weights and states; the next reply gets Error(not_loaded)
  [[nodiscard]] bool is_loaded() const noexcept;
  [[nodiscard]] MemoryFootprint memory_footprint() const;
  [[nodiscard]] ModelInfo info() const;
  /// Of the last reply.
  [[nodiscard]] ReplyStats stats() const;

  /// Tokens of `text` (special tokens in it are recognised).
  [[nodiscard]] std::vector<int32_t> tokenize(std::string_view text) const;
  /// The prompt the model would get.
  [[nodiscard]] std::string render_prompt(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                                          const std::vector<Tool>& tools = {}) const;

 private:
  struct Impl;
  explicit Chat(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace prosa
