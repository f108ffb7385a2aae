// Writing OpenAI's chat replies, whole and as a stream (openai.h).
#include <ctime>

#include "server/openai.h"

namespace prosa::server {

void openai_fail(Exchange& exchange, const Refusal& refusal) {
  if (!exchange.begun()) return exchange.respond(write_refusal(Dialect::openai, refusal, exchange.id()));
  exchange.write("data: " + refusal_text(Dialect::openai, refusal, exchange.id()) + "\n\n");
  exchange.finish();
}

std::string_view openai_finish(const Outcome& outcome) {
  switch (outcome.stats.finish) {
    case FinishReason::tool_calls: return "tool_calls";
    case FinishReason::length:
    case FinishReason::deadline:
    case FinishReason::context_full: return "length";
    default: return outcome.calls.empty() ? "stop" : "tool_calls";
  }
}

/// Of all choices: the prompt counts once.
Json openai_usage(const std::vector<Outcome>& outcomes) {
  const ReplyStats& first = outcomes.front().stats;
  int64_t generated = 0;
  int64_t thinking = 0;
  for (const Outcome& outcome : outcomes) {
    generated += outcome.stats.generated_tokens;
    thinking += outcome.stats.thinking_tokens;
  }
  return {{"prompt_tokens", first.prompt_tokens},
          {"completion_tokens", generated},
          {"total_tokens", first.prompt_tokens + generated},
          {"prompt_tokens_details", {{"cached_tokens", first.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", thinking}}}};
}

Json openai_timings(const ReplyStats& stats) {
  return {{"cache_n", stats.cached_tokens},  {"prompt_n", stats.prompt_tokens - stats.cached_tokens},
          {"prompt_ms", stats.prefill_ms},   {"predicted_n", stats.generated_tokens},
          {"predicted_ms", stats.decode_ms}, {"predicted_per_second", stats.decode_tok_s}};
}

namespace {

class Writer : public ReplyWriter {
 public:
  Writer(std::shared_ptr<Exchange> exchange, const OpenAiChatRequest& request, std::string model)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        id_("chatcmpl-" + random_digits(12)),
        created_(static_cast<int64_t>(std::time(nullptr))),
        stream_(request.stream),
        include_usage_(request.include_usage) {
    if (stream_) exchange_->open_stream(StreamKind::events);
  }

  void begin(int choice, const ReplyStats& /*stats*/) override {
    calls_ = 0;
    if (stream_) send_delta(choice, {{"role", "assistant"}, {"content", nullptr}});
  }

  bool piece(int choice, const Piece& piece) override {
    if (!stream_) return !exchange_->gone();
    if (piece.call) return send_call(choice, *piece.call);
    if (piece.text.empty()) return !exchange_->gone();
    return send_delta(choice, {{piece.channel == Channel::thought ? "reasoning_content" : "content", piece.text}});
  }

  void end(int choice, const Outcome& outcome) override {
    if (!stream_) return;
    Json chunk = frame("chat.completion.chunk");
    chunk["choices"] = Json::array({choice_of(choice, "delta", Json::object(), openai_finish(outcome))});
    if (include_usage_) chunk["usage"] = nullptr;
    chunk["timings"] = openai_timings(outcome.stats);
    send(chunk);
  }

  void done(const std::vector<Outcome>& outcomes) override {
    if (!stream_) return respond(outcomes);
    if (include_usage_) {
      Json chunk = frame("chat.completion.chunk");
      chunk["choices"] = Json::array();
      chunk["usage"] = openai_usage(outcomes);
      send(chunk);
    }
    exchange_->write("data: [DONE]\n\n");
    exchange_->finish();
  }

  void fail(const Refusal& refusal) override { openai_fail(*exchange_, refusal); }

 private:
  Json frame(const char* object) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", model_},
            {"system_fingerprint", kFingerprint}};
  }

  static Json choice_of(int index, const char* what, Json content, std::string_view finish) {
    Json choice = {{"index", index}};
    choice[what] = std::move(content);
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = finish.empty() ? Json() : Json(finish);
    return choice;
  }

  bool send(const Json& chunk) { return exchange_->write("data: " + to_text(chunk) + "\n\n"); }

  bool send_delta(int choice, Json delta) {
    Json chunk = frame("chat.completion.chunk");
    chunk["choices"] = Json::array({choice_of(choice, "delta", std::move(delta), "")});
    if (include_usage_) chunk["usage"] = nullptr;
    return send(chunk);
  }

  /// The name once, then the arguments.
  bool send_call(int choice, const ToolCall& call) {
    const int index = calls_++;
    Json first = {{"index", index},
                  {"id", "call_" + random_digits(12)},
                  {"type", "function"},
                  {"function", {{"name", call.name}, {"arguments", ""}}}};
    Json second = {{"index", index}, {"function", {{"arguments", call.arguments}}}};
    Json delta = Json::object();
    delta["tool_calls"] = Json::array({std::move(first)});
    if (!send_delta(choice, std::move(delta))) return false;
    delta = Json::object();
    delta["tool_calls"] = Json::array({std::move(second)});
    return send_delta(choice, std::move(delta));
  }

  static Json message_of(const Outcome& outcome) {
    Json message = {{"role", "assistant"}};
    const bool only_calls = outcome.text.empty() && !outcome.calls.empty();
    message["content"] = only_calls ? Json() : Json(outcome.text);
    if (!outcome.thought.empty()) message["reasoning_content"] = outcome.thought;
    if (!outcome.calls.empty()) {
      Json& calls = message["tool_calls"] = Json::array();
      for (const ToolCall& call : outcome.calls) {
        calls.push_back({{"id", "call_" + random_digits(12)},
                         {"type", "function"},
                         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
      }
    }
    // Calls that the model began and that can't be read: said, so that nobody takes the reply for a whole one.
    if (!outcome.stats.tool_call_errors.empty()) message["tool_call_errors"] = outcome.stats.tool_call_errors;
    return message;
  }

  void respond(const std::vector<Outcome>& outcomes) {
    Json json = frame("chat.completion");
    Json& choices = json["choices"] = Json::array();
    for (size_t i = 0; i < outcomes.size(); ++i) {
      choices.push_back(choice_of(static_cast<int>(i), "message", message_of(outcomes[i]), openai_finish(outcomes[i])));
    }
    json["usage"] = openai_usage(outcomes);
    json["timings"] = openai_timings(outcomes.back().stats);
    exchange_->respond({.body = to_text(json)});
  }

  const std::shared_ptr<Exchange> exchange_;
  const std::string model_;
  const std::string id_;
  const int64_t created_;
  const bool stream_;
  const bool include_usage_;
  int calls_ = 0;  // of the choice at hand
};

}  // namespace

std::unique_ptr<ReplyWriter> openai_chat_writer(const std::shared_ptr<Exchange>& exchange,
                                                const OpenAiChatRequest& request, const std::string& model) {
  return std::make_unique<Writer>(exchange, request, model);
}

}  // namespace prosa::server
