// Conversations with a Qwen3.5 model: messages in, a typed stream of pieces out.
//
// The caller always gives the whole message list; Chat finds the cheapest way there (it keeps KV cache and recurrent
// state of the conversation so far and re-reads only what is new). Every piece of a reply says which channel it belongs
// to: a voice pipeline speaks `speech` and nothing else.
//
// Text is text: what messages, tool definitions and transcripts say never becomes a control token, whatever it spells.
// "<|im_end|>" in a user's words reaches the model as those ten characters; only the chat template ends a turn.
//
// One Chat serves any number of conversations in turn: what they have in common (a system prompt, earlier turns) is
// found again. How, and what it costs: docs/guide/sessions.md. Any number of Chats may stand on one Model, from any
// threads: they share its weights and stored states, their steps are computed together, and each says what it would
// have said alone.
//
// Thread safety: one call at a time per Chat: a second thread gets Error(busy). cancel(), is_loaded(), info(), stats()
// and memory_footprint() may come from any thread. A Chat, Turn or ReplyStream that was moved from gives
// Error(invalid_argument).
//
// Text: all of it is UTF-8. What is not (messages, tools, stop strings, transcripts) gets Error(invalid_argument),
// which names the field and the byte, before anything is touched. A call that fails leaves the conversation as it was:
// the next reply has the words that it would have had. So does one that a callback of the caller's ends by throwing;
// what it throws comes back to the caller as it is.
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

#include "prosa/choice.h"
#include "prosa/error.h"
#include "prosa/model.h"
#include "prosa/sampling.h"
#include "prosa/session.h"

namespace prosa {

enum class Role {
  system,
  user,
  assistant,
  tool,
  /// Not of a conversation: a text that the model reads as it is, without a template. It is the only message of its
  /// list, no tools go with it, and control tokens that it spells are read (ControlTokens::read).
  prompt,
};

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

/// What becomes of a text that spells control tokens: the special ones ("<|im_end|>") and those that mark thoughts,
/// tool calls and tools' answers ("<think>").
enum class ControlTokens {
  read,     // they become those tokens: for text that a template wrote
  as_text,  // they stay characters, as in every message
};

enum class FinishReason { stop, stop_string, length, tool_calls, cancelled, deadline, context_full, error };
std::string_view to_string(FinishReason reason) noexcept;

/// What a reply cost. Times are wall-clock.
struct ReplyStats {
  int64_t prompt_tokens = 0;     // the whole prompt
  int64_t cached_tokens = 0;     // of these: already in the state, not computed again
  SyncReport reuse = {};         // the same in full: which way the state got there, and where the prompts part
  int64_t dropped_messages = 0;  // oldest ones left out of the prompt (ContextPolicy::drop_oldest)
  int64_t generated_tokens = 0;  // sampled or forced, thinking and end token included
  int64_t thinking_tokens = 0;   // of these: in the think block
  int64_t guessed_tokens = 0;    // of these: taken from a guess (Turn::commit), many in one pass
  int64_t forced_tokens = 0;     // of these: nothing else could follow in a format or a call: they cost no step
  double prefill_ms = 0;         // computing prompt_tokens - cached_tokens
  double first_token_ms = 0;     // from the call to the first token
  double decode_ms = 0;
  double decode_tok_s = 0;  // decode steps a second
  uint64_t seed = 0;        // the one used; after load_session() that of the last reply before
  FinishReason finish = FinishReason::stop;
  std::vector<std::string> tool_call_errors = {};  // calls the model wrote that can't be read: why; never spoken
  /// What tools that are not strict say of their arguments and the reply was not held to: by its path, and why.
  std::vector<std::string> left_free = {};
  /// Why turns that were read before were read again though the conversation only went on: the model's template writes
  /// them differently now. Empty: they were not.
  std::string reread = {};
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
  friend class Turn;
  struct Impl;
  explicit ReplyStream(std::unique_ptr<Impl> impl);
  [[nodiscard]] Impl& impl() const;  // Error(invalid_argument) after a move
  std::unique_ptr<Impl> impl_;
};

/// How a turn sounds so far: over, or not.
struct TurnEnding {
  /// Of the model ending the user's message here, 0 to 1: large after whole sentences, small within one. How large
  /// depends on the model, and on how transcripts are written; one signal beside silence, never the only one. Nothing:
  /// no word was heard yet, or the call was cancelled.
  std::optional<double> probability;
  int64_t computed_tokens = 0;  // for the answer
};

/// A user's turn while it is still being spoken: what has been understood so far is read ahead, so that after the last
/// word only the rest remains to be read. At most one step back per call: a transcript that changes in its middle or
/// shrinks is read again from where it changed, or from the turn's beginning. Not more precious than its speed: what
/// was heard never shows in a reply, only what is committed does. It may outlive its Chat. Thread safety: as Chat.
class Turn {
 public:
  ~Turn();
  Turn(Turn&&) noexcept;
  Turn& operator=(Turn&&) noexcept;

  /// The transcript so far, UTF-8; may be empty (reads the history ahead). Its last word is held back: it may still
  /// grow. Ends early when cancelled. Errors: context_exceeded, not_loaded, busy, invalid_argument (not UTF-8, or
  /// committed).
  SyncReport hear(std::string_view transcript);
  /// Whether the turn may end with what hear() was last given, its last word included. Costs the few tokens that hear()
  /// held back and one row of logits; moves nothing, so that no bit of a later reply depends on it. Errors as hear().
  TurnEnding ending();
  /// The whole turn: the reply to history + it. Once. `guess`: what the answer may begin with, such as the reply to an
  /// earlier transcript of the turn. It changes no token and no bit of the reply; as far as it is right, it is read in
  /// passes of many tokens instead of one step a token. Errors as Chat::generate_stream.
  ReplyStream commit(std::string_view transcript, std::string_view guess = {});

 private:
  friend class Chat;
  struct Impl;
  explicit Turn(std::unique_ptr<Impl> impl);
  [[nodiscard]] Impl& impl() const;  // Error(invalid_argument) after a move
  std::unique_ptr<Impl> impl_;
};

/// What becomes of the states of conversations when the model is unloaded.
enum class Unload {
  drop,  // they are freed with it
  keep,  // they stay in memory, and are there again after load()
  park,  // the newest conversation goes into a file, and comes back from it at load()
};

/// What a Chat does besides replying; the fields of LoadOptions with the same names, for a Chat on a Model.
struct ChatOptions {
  ContextPolicy context_policy = ContextPolicy::error;
  std::string cache_dir = {};              // a folder that keeps system prompts across restarts; "": none
  int64_t cache_bytes = int64_t{1} << 30;  // of that folder; what was unused for longest goes first
  double idle_unload_seconds = 0;          // unloads (keeping states) when unused for so long; 0: never, at least 0.01
  /// Chats of one number share what they have read, and those of another never meet it, not even by its speed: for
  /// people who must not learn of each other's prompts. The folder cache_dir is shared by all.
  uint64_t sharing = 0;
};

class Chat {
 public:
  /// `name`: a folder, a hub name (owner/name[:subfolder][@revision]), or "" for the embedded model.
  static Chat from_pretrained(const std::string& name = {}, const LoadOptions& options = {});
  /// On a loaded model, whose weights and stored states it shares: it adds a state and its KV. Errors:
  /// invalid_argument, bad_tokenizer, not_found (a model without tokenizer files), out_of_memory.
  explicit Chat(const Model& model, const ChatOptions& options = {});
  /// Another chat on the same model that stands where this one does: its replies cost the tokens that are new in them.
  /// Errors: not_loaded, busy, out_of_memory.
  [[nodiscard]] Chat fork() const;
  /// The model, for others to share. Error(not_loaded).
  [[nodiscard]] Model model() const;

  ~Chat();
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;

  /// The whole reply. Errors: invalid_argument, bad_template, context_exceeded, not_loaded, busy.
  Reply generate(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                 const std::vector<Tool>& tools = {});
  /// The reply as a range of pieces.
  ReplyStream generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                              const std::vector<Tool>& tools = {});
  /// The reply through a callback; return false to end it. Returns the whole reply. What the callback throws ends the
  /// reply there and comes back as it is.
  Reply generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::vector<Tool>& tools, const std::function<bool(const Piece&)>& on_piece);
  Reply generate_stream(const std::vector<Message>& messages, const SamplingConfig& sampling,
                        const std::function<bool(const Piece&)>& on_piece);

  /// Which of `options` the model would rather reply, each scored as a whole reply without thoughts; see choice.h. The
  /// conversation stands where it stood, unless ChooseConfig::keep. Errors: invalid_argument (options, slots; the field
  /// is named), unsupported (a pattern of a slot), bad_template, context_exceeded, cancelled, not_loaded, busy.
  Choice choose(const std::vector<Message>& messages, const std::vector<std::string>& options,
                const ChooseConfig& config = {}, const std::vector<Tool>& tools = {});

  /// A user's turn as it is being spoken, after `history` (which may be empty).
  Turn begin_turn(std::vector<Message> history, const SamplingConfig& sampling = {}, std::vector<Tool> tools = {});
  /// The last reply was heard only up to `characters` (Unicode code points of its speech): returns that part, to be
  /// kept as the assistant's message, and reads it ahead, as the next turn will need it. Errors: invalid_argument (no
  /// reply yet, or beyond its end), not_loaded, busy.
  std::string heard(size_t characters);

  /// Ends the call under way (a reply, hear(), load()), from any thread: within milliseconds of prefill or one step; no
  /// effect when there is none.
  void cancel() noexcept;
  /// Forgets the conversation's cached state: not the model, nor stored states that other chats of it have used.
  void reset_state();

  /// Writes `messages` and the state after them (read ahead as far as any next turn needs it) into one file, which is
  /// complete or the old one. Errors: io, bad_template, context_exceeded, not_loaded, busy (also: another holds the
  /// file: SessionLock in session.h); invalid_argument for messages that load_session() could not read again (JSON
  /// nested too deep, too many bytes).
  void save_session(const std::string& path, const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                    const std::vector<Tool>& tools = {});
  void save_session(const SessionLock& file, const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                    const std::vector<Tool>& tools = {});
  /// Those messages; the next turn costs its new tokens only. Errors: not_found, io, bad_session (damaged; of another
  /// model, backend, version or byte order), not_loaded, busy (also: another holds the file).
  std::vector<Message> load_session(const std::string& path, SessionAccess access = SessionAccess::exclusive);
  std::vector<Message> load_session(const SessionLock& file);

  /// Again after unload(); no effect when loaded. cancel() ends it: Error(cancelled). A Chat on a Model gets
  /// Error(not_loaded) when nobody holds that model any more.
  void load();
  /// Frees the weights, unless others hold the model; the next reply gets Error(not_loaded). `park_path`: the file of
  /// Unload::park. Errors: busy, and for Unload::park io.
  void unload(Unload states = Unload::drop, const std::string& park_path = {});
  [[nodiscard]] bool is_loaded() const noexcept;
  [[nodiscard]] MemoryFootprint memory_footprint() const;
  [[nodiscard]] ModelInfo info() const;
  /// Of the last reply.
  [[nodiscard]] ReplyStats stats() const;

  /// Tokens of `text`. By default control tokens in it are read, whoever wrote them: what users, tools and files wrote
  /// is tokenized with ControlTokens::as_text. Error(invalid_argument): not UTF-8.
  [[nodiscard]] std::vector<int32_t> tokenize(std::string_view text, ControlTokens control = ControlTokens::read) const;
  /// The text of tokens, control tokens as they are written; what is no whole character becomes U+FFFD.
  /// Error(invalid_argument): no such token.
  [[nodiscard]] std::string detokenize(const std::vector<int32_t>& tokens) const;
  /// The prompt the model would get, as text. Its tokens are those of tokenize() unless messages spell control tokens.
  [[nodiscard]] std::string render_prompt(const std::vector<Message>& messages, const SamplingConfig& sampling = {},
                                          const std::vector<Tool>& tools = {}) const;

 private:
  struct Impl;
  explicit Chat(std::shared_ptr<Impl> impl);
  static Chat load_from(const std::string& name, const LoadOptions& options);
  [[nodiscard]] Impl& impl() const;  // Error(invalid_argument) after a move
  std::shared_ptr<Impl> impl_;
};

}  // namespace prosa
