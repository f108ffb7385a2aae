// Writing answers of /v1/responses: items, and the events that tell how they grow (responses.h).
#include <ctime>

#include "server/openai.h"
#include "server/responses.h"

namespace prosa::server {
namespace {

constexpr size_t kIdBytes = 24;  // in hexadecimal digits 48, as OpenAI's are

class Writer : public ReplyWriter {
 public:
  Writer(std::shared_ptr<Exchange> exchange, ResponsesRequest& request, const std::string& model, AnswerKeeper keeper)
      : exchange_(std::move(exchange)),
        keeper_(request.store ? keeper : AnswerKeeper{}),
        stream_(request.stream),
        id_("resp_" + random_digits(kIdBytes)) {
    object_ = {{"id", id_},
               {"object", "response"},
               {"created_at", static_cast<int64_t>(std::time(nullptr))},
               {"status", "in_progress"},
               {"background", false},
               {"completed_at", nullptr},
               {"error", nullptr},
               {"incomplete_details", nullptr},
               {"model", model}};
    object_["output"] = Json::array();
    object_.update(request.echo);
    object_["usage"] = nullptr;
    if (keeper_.store != nullptr) conversation_ = std::move(request.conversation);
    if (stream_) exchange_->open_stream(StreamKind::events);
  }

  void begin(int /*choice*/, const ReplyStats& /*stats*/) override {
    send_object("response.created");
    send_object("response.in_progress");
  }

  bool piece(int /*choice*/, const Piece& piece) override {
    if (piece.call) {
      add_call(*piece.call);
    } else if (!piece.text.empty()) {
      const Open kind = piece.channel == Channel::thought ? Open::thoughts : Open::words;
      if (open_ != kind) {
        close("completed");
        open(kind);
      }
      text_ += piece.text;
      Json event = part_event(kind == Open::words ? "response.output_text.delta" : "response.reasoning_text.delta");
      event["delta"] = piece.text;
      if (kind == Open::words) event["logprobs"] = Json::array();
      send(std::move(event));
    }
    return !exchange_->gone();
  }

  void end(int /*choice*/, const Outcome& outcome) override {
    const bool cut = openai_finish(outcome) == "length";
    if (open_ == Open::nothing && object_["output"].empty()) open(Open::words);
    close(cut ? "incomplete" : "completed");
    object_["status"] = cut ? "incomplete" : "completed";
    if (cut) object_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    if (!cut) object_["completed_at"] = static_cast<int64_t>(std::time(nullptr));
    const ReplyStats& stats = outcome.stats;
    object_["usage"] = {{"input_tokens", stats.prompt_tokens},
                        {"input_tokens_details", {{"cached_tokens", stats.cached_tokens}}},
                        {"output_tokens", stats.generated_tokens},
                        {"output_tokens_details", {{"reasoning_tokens", stats.thinking_tokens}}},
                        {"total_tokens", stats.prompt_tokens + stats.generated_tokens}};
    // Calls that the model began and that can't be read: said, so that nobody takes the answer for a whole one.
    if (!stats.tool_call_errors.empty()) object_["tool_call_errors"] = stats.tool_call_errors;
  }

  void done(const std::vector<Outcome>& outcomes) override {
    // Before the client can ask for it.
    if (keeper_.store != nullptr) keep(outcomes.front());
    if (!stream_) return exchange_->respond({.body = to_text(object_)});
    send_object(object_["status"] == "completed" ? "response.completed" : "response.incomplete");
    exchange_->finish();
  }

  void fail(const Refusal& refusal) override {
    if (!exchange_->begun()) return openai_fail(*exchange_, refusal);
    object_["status"] = "failed";
    object_["error"] = {{"code", refusal.status < 500 ? refusal.code : "server_error"}, {"message", refusal.what()}};
    send_object("response.failed");
    exchange_->finish();
  }

 private:
  enum class Open { nothing, thoughts, words };

  void send(Json event) {
    if (!stream_) return;
    event["sequence_number"] = sequence_++;
    exchange_->write("event: " + event["type"].get<std::string>() + "\ndata: " + to_text(event) + "\n\n");
  }

  void send_object(const char* type) {
    if (!stream_) return;
    Json event = {{"type", type}};
    event["response"] = object_;
    send(std::move(event));
  }

  /// The newest item.
  Json& item() { return object_["output"].back(); }
  [[nodiscard]] size_t index() const { return object_["output"].size() - 1; }

  Json item_event(const char* type) {
    Json event = {{"type", type}};
    event["item_id"] = item()["id"];
    event["output_index"] = index();
    return event;
  }

  /// About the one part of a text item.
  Json part_event(const char* type) {
    Json event = item_event(type);
    event["content_index"] = 0;
    return event;
  }

  void send_item(const char* type) {
    Json event = {{"type", type}};
    event["output_index"] = index();
    event["item"] = item();
    send(std::move(event));
  }

  [[nodiscard]] Json part() const {
    if (open_ == Open::thoughts) return {{"type", "reasoning_text"}, {"text", text_}};
    Json part = {{"type", "output_text"}};
    part["annotations"] = Json::array();
    part["logprobs"] = Json::array();
    part["text"] = text_;
    return part;
  }

  void open(Open kind) {
    open_ = kind;
    text_.clear();
    Json item = Json::object();
    if (kind == Open::thoughts) {
      item = {{"id", "rs_" + random_digits(kIdBytes)}, {"type", "reasoning"}};
      item["summary"] = Json::array();
    } else {
      item = {{"id", "msg_" + random_digits(kIdBytes)}, {"type", "message"}, {"role", "assistant"}};
    }
    item["status"] = "in_progress";
    item["content"] = Json::array();
    object_["output"].push_back(std::move(item));
    send_item("response.output_item.added");
    Json event = part_event("response.content_part.added");
    event["part"] = part();
    send(std::move(event));
  }

  /// The item under way, if there is one, is complete.
  void close(const char* status) {
    if (open_ == Open::nothing) return;
    Json event = part_event(open_ == Open::words ? "response.output_text.done" : "response.reasoning_text.done");
    event["text"] = text_;
    if (open_ == Open::words) event["logprobs"] = Json::array();
    send(std::move(event));
    event = part_event("response.content_part.done");
    event["part"] = part();
    send(std::move(event));
    item()["content"].push_back(part());
    item()["status"] = status;
    send_item("response.output_item.done");
    open_ = Open::nothing;
  }

  void add_call(const ToolCall& call) {
    close("completed");
    call_ids_.push_back("call_" + random_digits(12));
    object_["output"].push_back({{"id", "fc_" + random_digits(kIdBytes)},
                                 {"type", "function_call"},
                                 {"status", "in_progress"},
                                 {"call_id", call_ids_.back()},
                                 {"name", call.name},
                                 {"arguments", ""}});
    send_item("response.output_item.added");
    Json event = item_event("response.function_call_arguments.delta");
    event["delta"] = call.arguments;
    send(std::move(event));
    event = item_event("response.function_call_arguments.done");
    event["name"] = call.name;
    event["arguments"] = call.arguments;
    send(std::move(event));
    item()["arguments"] = call.arguments;
    item()["status"] = "completed";
    send_item("response.output_item.done");
  }

  void keep(const Outcome& outcome) {
    conversation_.push_back({Role::assistant, outcome.text, outcome.thought, outcome.calls});
    keeper_.store->keep(keeper_.domain, id_, {std::move(conversation_), call_ids_, to_text(object_)});
  }

  const std::shared_ptr<Exchange> exchange_;
  const AnswerKeeper keeper_;
  const bool stream_;
  const std::string id_;
  std::vector<Message> conversation_;  // to be kept; empty where it is not
  Json object_;
  std::vector<std::string> call_ids_;
  Open open_ = Open::nothing;
  std::string text_;  // of the item under way
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<ReplyWriter> responses_writer(const std::shared_ptr<Exchange>& exchange, ResponsesRequest& request,
                                              const std::string& model, const AnswerKeeper& keeper) {
  return std::make_unique<Writer>(exchange, request, model, keeper);
}

}  // namespace prosa::server
