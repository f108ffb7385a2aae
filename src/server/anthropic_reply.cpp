// Writing replies as Anthropic's content blocks, whole and as a stream of events (anthropic.h).
#include "base/json.h"
#include "chat/message_json.h"
#include "server/anthropic.h"

namespace prosa::server {
namespace {

std::string_view reason_name(const Outcome& outcome) {
  switch (outcome.stats.finish) {
    case FinishReason::tool_calls: return "tool_use";
    case FinishReason::length:
    case FinishReason::deadline: return "max_tokens";
    case FinishReason::context_full: return "model_context_window_exceeded";
    case FinishReason::stop_string: return "stop_sequence";
    default: return outcome.calls.empty() ? "end_turn" : "tool_use";
  }
}

/// Tokens of the prompt that were found in a state count apart from the others.
Json usage_of(const ReplyStats& stats) {
  return {{"input_tokens", stats.prompt_tokens - stats.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", stats.cached_tokens},
          {"output_tokens", stats.generated_tokens}};
}

class Writer : public ReplyWriter {
 public:
  Writer(std::shared_ptr<Exchange> exchange, const AnthropicRequest& request, std::string model)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        id_("msg_" + random_digits(12)),
        stops_(request.generation.sampling.stop),
        stream_(request.stream) {
    if (stream_) exchange_->open_stream(StreamKind::events);
  }

  void begin(int /*choice*/, const ReplyStats& stats) override {
    if (!stream_) return;
    Json json = {{"type", "message_start"}};
    json["message"] = message(Json::array(), nullptr, nullptr, stats);
    send(json);
  }

  bool piece(int /*choice*/, const Piece& piece) override {
    if (!stream_) return !exchange_->gone();
    if (piece.call) return send_call(*piece.call);
    if (piece.text.empty()) return !exchange_->gone();
    const bool thought = piece.channel == Channel::thought;
    enter(thought ? "thinking" : "text");
    return send_delta(thought ? Json{{"type", "thinking_delta"}, {"thinking", piece.text}}
                              : Json{{"type", "text_delta"}, {"text", piece.text}});
  }

  void end(int /*choice*/, const Outcome& outcome) override {
    if (!stream_) return;
    if (index_ < 0) enter("text");
    leave_block();
    Json json = {{"type", "message_delta"}};
    json["delta"] = {{"stop_reason", reason_name(outcome)}, {"stop_sequence", stop_sequence(outcome)}};
    json["usage"] = usage_of(outcome.stats);
    send(json);
    send({{"type", "message_stop"}});
  }

  void done(const std::vector<Outcome>& outcomes) override {
    if (stream_) return exchange_->finish();
    const Outcome& outcome = outcomes.front();
    Json content = Json::array();
    if (!outcome.thought.empty()) {
      content.push_back(Json{{"type", "thinking"}, {"thinking", outcome.thought}, {"signature", ""}});
    }
    if (!outcome.text.empty() || outcome.calls.empty()) {
      content.push_back(Json{{"type", "text"}, {"text", outcome.text}});
    }
    for (const ToolCall& call : outcome.calls) {
      Json block = call_block(call);
      block["input"] = chat::parse_tool_arguments(call);
      content.push_back(std::move(block));
    }
    exchange_->respond({.body = to_text(message(std::move(content), Json(reason_name(outcome)), stop_sequence(outcome),
                                                outcome.stats))});
  }

  void fail(const Refusal& refusal) override {
    if (!exchange_->begun()) return exchange_->respond(write_refusal(Dialect::anthropic, refusal, exchange_->id()));
    exchange_->write("event: error\ndata: " + refusal_text(Dialect::anthropic, refusal, exchange_->id()) + "\n\n");
    exchange_->finish();
  }

 private:
  bool send(const Json& json) {
    return exchange_->write("event: " + json["type"].get<std::string>() + "\ndata: " + to_text(json) + "\n\n");
  }

  bool send_delta(Json delta) {
    Json json = {{"type", "content_block_delta"}, {"index", index_}};
    json["delta"] = std::move(delta);
    return send(json);
  }

  Json message(Json content, Json reason, Json sequence, const ReplyStats& stats) const {
    Json json = {{"id", id_}, {"type", "message"}, {"role", "assistant"}, {"model", model_}};
    json["content"] = std::move(content);
    json["stop_reason"] = std::move(reason);
    json["stop_sequence"] = std::move(sequence);
    json["usage"] = usage_of(stats);
    return json;
  }

  static Json call_block(const ToolCall& call) {
    return {{"type", "tool_use"}, {"id", "toolu_" + random_digits(12)}, {"name", call.name}, {"input", Json::object()}};
  }

  /// Which of the sequences ended the reply is known where there is only one.
  Json stop_sequence(const Outcome& outcome) const {
    const bool known = outcome.stats.finish == FinishReason::stop_string && stops_.size() == 1;
    return known ? Json(stops_.front()) : Json();
  }

  /// A block of that kind is open from here on.
  void enter(const std::string& kind) {
    if (open_ == kind) return;
    leave_block();
    begin_block(kind == "thinking" ? Json{{"type", kind}, {"thinking", ""}, {"signature", ""}}
                                   : Json{{"type", kind}, {"text", ""}});
    open_ = kind;
  }

  void begin_block(Json block) {
    Json json = {{"type", "content_block_start"}, {"index", ++index_}};
    json["content_block"] = std::move(block);
    send(json);
  }

  void leave_block() {
    if (open_.empty()) return;
    open_.clear();
    send({{"type", "content_block_stop"}, {"index", index_}});
  }

  bool send_call(const ToolCall& call) {
    leave_block();
    begin_block(call_block(call));
    open_ = "tool_use";
    const bool sent = send_delta({{"type", "input_json_delta"}, {"partial_json", call.arguments}});
    leave_block();
    return sent;
  }

  const std::shared_ptr<Exchange> exchange_;
  const std::string model_;
  const std::string id_;
  const std::vector<std::string> stops_;
  const bool stream_;
  int index_ = -1;    // of the newest block
  std::string open_;  // its kind while it is open
};

}  // namespace

std::unique_ptr<ReplyWriter> anthropic_writer(const std::shared_ptr<Exchange>& exchange,
                                              const AnthropicRequest& request, const std::string& model) {
  return std::make_unique<Writer>(exchange, request, model);
}

}  // namespace prosa::server
