// prosa as the language model of somebody else's voice pipeline: a list of messages in, tokens out, one call at a time.
//
// Header only, on top of Chat. What such pipelines have in common, and what hurts with them, is handled here:
// - However a reply ends (said, empty, failed, cancelled), the end is told exactly once: on_token("", true). No
//   exception escapes; what went wrong is in PipelineReply::error.
// - They cut their history to the last N messages, one message further every turn. Each cut would change how the prompt
//   begins, so that all of it is read anew. A list that is the known one without its oldest entries is therefore
//   answered from the longer history that this object keeps, until that is kMaxKeptTimes as long: then it is cut at
//   once.
// - A tool's result comes as "[name] output" with no call before it: the call that belongs to it is put there.
//
// Thread safety: chat() and set_tools() one at a time; cancel() and count_tokens() from any thread at any time.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prosa/chat.h"

namespace prosa {

/// The messages that a model was asked with and has answered, for a pipeline that forgets its oldest ones.
class KeptHistory {
 public:
  /// So many times as long as the list that is given; then it is cut to that list.
  static constexpr size_t kMaxKeptTimes = 3;
  /// Messages that a shortened list and this history must share before they are taken for the same conversation.
  static constexpr size_t kMinShared = 4;

  /// What to ask the model: `given`, behind the older messages where it is the known list without them. Tool results
  /// have their calls in front of them.
  std::vector<Message> extend(const std::vector<Message>& given) const {
    const size_t body = begins_with_system(given) ? 1 : 0;
    std::vector<Message> all(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(body));
    size_t from = body;  // of `given`: what is new
    if (const Overlap found = overlap(given, body); found.shared > 0) {
      size_t seen = 0;
      for (const Message& message : messages_) {
        if (seen == found.skipped + found.shared) break;
        all.push_back(message);
        seen += is_visible(message) ? 1 : 0;
      }
      for (size_t shared = 0; shared < found.shared; ++from) shared += is_visible(given[from]) ? 1 : 0;
      if (from < given.size() && given[from].role == Role::tool) add_open_call(all, found.skipped + found.shared);
    }
    for (; from < given.size(); ++from) {
      if (given[from].role == Role::tool) {
        add_result(all, given[from]);
      } else {
        all.push_back(given[from]);
      }
    }
    return all;
  }

  /// The model was asked with `asked` and answered `answer`; without an answer (cancelled, failed) what was asked is
  /// kept all the same.
  void remember(const std::vector<Message>& asked, const Message* answer) {
    messages_.assign(asked.begin() + (begins_with_system(asked) ? 1 : 0), asked.end());
    if (answer != nullptr) messages_.push_back(*answer);
  }
  void clear() { messages_.clear(); }
  [[nodiscard]] size_t size() const noexcept { return messages_.size(); }

 private:
  /// Of the messages that a pipeline shows again: it drops results, and knows nothing of calls.
  struct Overlap {
    size_t skipped = 0;  // oldest messages of this history that the list no longer has
    size_t shared = 0;   // those that both have after them
  };

  static bool begins_with_system(const std::vector<Message>& list) {
    return !list.empty() && list.front().role == Role::system;
  }
  static bool is_visible(const Message& message) {
    return message.role != Role::tool && (message.tool_calls.empty() || !message.content.empty());
  }

  [[nodiscard]] Overlap overlap(const std::vector<Message>& given, size_t body) const {
    std::vector<const Message*> mine;
    std::vector<const Message*> theirs;
    for (const Message& message : messages_) {
      if (is_visible(message)) mine.push_back(&message);
    }
    for (size_t i = body; i < given.size(); ++i) {
      if (is_visible(given[i])) theirs.push_back(&given[i]);
    }
    Overlap best;
    for (size_t skipped = 0; skipped < mine.size(); ++skipped) {
      size_t shared = 0;
      while (skipped + shared < mine.size() && shared < theirs.size() &&
             mine[skipped + shared]->role == theirs[shared]->role &&
             mine[skipped + shared]->content == theirs[shared]->content)
        ++shared;
      // Only the last message may have come back otherwise than it was said: cut where it was interrupted.
      const bool whole = skipped + shared + 1 >= mine.size() && shared >= kMinShared;
      if ((skipped == 0 || whole) && shared > best.shared) best = {skipped, shared};
    }
    if (best.skipped > 0 && mine.size() > kMaxKeptTimes * std::max<size_t>(theirs.size(), 1)) return {};
    return best;
  }

  /// The call that was made after so many visible messages: its result comes now.
  void add_open_call(std::vector<Message>& all, size_t visible) const {
    size_t seen = 0;
    for (const Message& message : messages_) {
      if (seen == visible && !message.tool_calls.empty() && !is_visible(message)) return all.push_back(message);
      seen += is_visible(message) ? 1 : 0;
    }
  }

  /// "[name] output", with a call in front of it that it answers.
  static void add_result(std::vector<Message>& all, const Message& given) {
    Message result{Role::tool, given.content};
    std::string name = "tool";
    const size_t close = given.content.find("] ");
    if (given.content.starts_with("[") && close != std::string::npos) {
      name = given.content.substr(1, close - 1);
      result.content = given.content.substr(close + 2);
    }
    const bool follows_call = !all.empty() && (all.back().role == Role::tool || !all.back().tool_calls.empty());
    if (!follows_call) all.push_back({Role::assistant, "", "", {{name, "{}"}}});
    all.push_back(std::move(result));
  }

  std::vector<Message> messages_;  // without the system message
};

struct PipelineReply {
  std::string text;                  // what was said
  std::vector<ToolCall> tool_calls;  // what the model wants called
  ReplyStats stats;
  std::string error;  // why there is no whole reply; empty: there is one, or it was cancelled
};

class PipelineLlm {
 public:
  /// What a pipeline knows of a tool.
  struct ToolSketch {
    std::string name;
    std::string description;
  };
  using OnToken = std::function<void(const std::string& token, bool is_final)>;

  /// `sampling`: a voice does not think aloud, so thinking is off unless it is asked for.
  explicit PipelineLlm(Chat chat, SamplingConfig sampling = {})
      : chat_(std::move(chat)), sampling_(std::move(sampling)) {
    if (!sampling_.enable_thinking) sampling_.disable_thinking = true;
  }

  /// Blocks until the reply has ended. Never throws.
  PipelineReply chat(const std::vector<Message>& messages, const OnToken& on_token) noexcept {
    PipelineReply reply;
    try {
      answer(messages, on_token, reply);
    } catch (const std::exception& error) {
      tell(reply, error.what());
    } catch (...) {
      tell(reply, "the callback threw something that is no exception");
    }
    try {
      if (on_token) on_token("", true);
    } catch (...) {  // whoever throws at the end has been told of it all the same
    }
    return reply;
  }

  /// From now on these are offered. They bring no schema: any arguments, or none.
  void set_tools(const std::vector<ToolSketch>& tools) {
    tools_.clear();
    for (const ToolSketch& tool : tools) {
      tools_.push_back({R"({"type": "function", "function": {"name": )" + quoted(tool.name) + R"(, "description": )" +
                        quoted(tool.description) + R"(, "parameters": {"type": "object", "properties": {}}}})"});
    }
  }

  /// Ends the reply under way, from any thread; twice, or when there is none, it does no harm.
  void cancel() noexcept { chat_.cancel(); }
  /// Tokens of a text; 0 where that cannot be said (the model is unloaded).
  [[nodiscard]] int count_tokens(std::string_view text) const noexcept {
    try {
      return static_cast<int>(chat_.tokenize(text, ControlTokens::as_text).size());
    } catch (...) {
      return 0;
    }
  }
  /// Reads the system prompt and the tools before anybody speaks. cancel() ends it. Errors as Chat::generate, but
  /// cancelled is none.
  void read_ahead(const std::string& system) {
    std::vector<Message> history;
    if (!system.empty()) history.push_back({Role::system, system});
    chat_.begin_turn(history, sampling_, tools_).hear("");
  }

 private:
  static void tell(PipelineReply& reply, const char* what) noexcept {
    try {
      reply.error = what;
    } catch (...) {  // no memory: it stays empty
    }
  }

  void answer(const std::vector<Message>& given, const OnToken& on_token, PipelineReply& reply) {
    std::vector<Message> asked = history_.extend(given);
    try {
      generate(asked, on_token, reply);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::context_exceeded || asked.size() <= given.size() || !reply.text.empty()) throw;
      history_.clear();  // what the pipeline itself remembers may fit
      asked = history_.extend(given);
      generate(asked, on_token, reply);
    }
    const bool whole = reply.stats.finish != FinishReason::cancelled && reply.stats.finish != FinishReason::deadline;
    const Message answer{Role::assistant, reply.text, "", reply.tool_calls};
    history_.remember(asked, whole && (!answer.content.empty() || !answer.tool_calls.empty()) ? &answer : nullptr);
  }

  void generate(const std::vector<Message>& asked, const OnToken& on_token, PipelineReply& reply) {
    ReplyStream stream = chat_.generate_stream(asked, sampling_, tools_);
    for (const Piece& piece : stream) {
      if (piece.channel == Channel::tool_call && piece.call) reply.tool_calls.push_back(*piece.call);
      if (piece.channel != Channel::speech || piece.text.empty()) continue;
      reply.text += piece.text;
      if (on_token) on_token(piece.text, false);
    }
    reply.stats = stream.stats();
  }

  static std::string quoted(std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20) {
        out += std::string("\\u00") + kDigits[byte / 16] + kDigits[byte % 16];
      } else {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
      }
    }
    return out + "\"";
  }

  Chat chat_;
  SamplingConfig sampling_;
  std::vector<Tool> tools_;
  KeptHistory history_;
};

}  // namespace prosa
