// Ollama's paths: /api/chat, /api/generate, /api/show; lists of models are listing.cpp's.
//
// Streams are lines of JSON unless a request says stream: false. Thinking is on or off by `think`. Options that change
// no reply here (num_thread, num_gpu) are not looked at, as in Ollama.
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/json.h"
#include "chat/message_json.h"
#include "server/dialects.h"
#include "server/listing.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

std::string now_text() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

int64_t nanoseconds(double milliseconds) { return static_cast<int64_t>(milliseconds * 1e6); }

struct OllamaRequest {
  Generation generation;
  bool stream = true;
  bool chat = true;  // /api/chat; else /api/generate
};

void read_options(const Fields& options, SamplingConfig& sampling) {
  read_sampling(options, sampling);
  read_seed(options, sampling);
  if (options.has("stop")) sampling.stop = options.texts("stop");
  // -1 and -2: as long as there is room.
  const auto most = options.integer("num_predict", -2, kMaxInteger);
  if (most && *most > 0) sampling.max_tokens = static_cast<int>(*most);
  if (most && *most == 0) sampling.max_tokens = 1;
}

void read_common(const Fields& body, OllamaRequest& request) {
  SamplingConfig& sampling = request.generation.sampling;
  static_cast<void>(body.text("model"));
  if (const auto options = body.object("options")) read_options(*options, sampling);
  if (const Json* think = body.find("think")) {
    if (!think->is_boolean() && !think->is_string()) body.refuse("think", "must be true, false, low, medium or high");
    set_thinking(sampling, think->is_string() || think->get<bool>());
  }
  const Json* format = body.find("format");
  if (format != nullptr && format->is_object()) {
    sampling.format = ReplyFormat::json_schema(to_text(*format));
  } else if (format != nullptr && *format == "json") {
    sampling.format = ReplyFormat::json_object();
  } else if (format != nullptr && *format != "") {
    body.refuse("format", "must be \"json\" or a JSON Schema");
  }
  request.stream = body.boolean("stream").value_or(true);
}

/// {"role", "content", "thinking", "tool_calls", "tool_name"}: OpenAI's form but for the name of thoughts.
std::vector<Message> read_messages(const Fields& body) {
  const Json* messages = body.list("messages");
  if (messages == nullptr) return {};
  for (size_t i = 0; i < messages->size(); ++i) {
    const Fields message((*messages)[i], fmt::format("messages[{}]", i));
    const Json* images = message.list("images");
    if (images != nullptr && !images->empty()) message.refuse_unsupported("images", "only text is read");
  }
  std::vector<Message> list = chat::messages_from_json(*messages);
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields message((*messages)[i], fmt::format("messages[{}]", i));
    if (auto thinking = message.text("thinking")) list[i].reasoning_content = *std::move(thinking);
  }
  return list;
}

std::string_view reason_name(const Outcome& outcome) {
  switch (outcome.stats.finish) {
    case FinishReason::length:
    case FinishReason::deadline:
    case FinishReason::context_full: return "length";
    default: return "stop";
  }
}

class Writer : public ReplyWriter {
 public:
  Writer(std::shared_ptr<Exchange> exchange, const OllamaRequest& request, std::string model)
      : exchange_(std::move(exchange)), model_(std::move(model)), stream_(request.stream), chat_(request.chat) {
    if (stream_) exchange_->open_stream(StreamKind::lines);
  }

  void begin(int /*choice*/, const ReplyStats& /*stats*/) override {}

  bool piece(int /*choice*/, const Piece& piece) override {
    if (!stream_) return !exchange_->gone();
    if (piece.text.empty() && !piece.call) return !exchange_->gone();
    const bool thought = piece.channel == Channel::thought;
    std::vector<ToolCall> calls;
    if (piece.call) calls.push_back(*piece.call);
    return send(frame(thought ? "" : piece.text, thought ? piece.text : "", calls, false));
  }

  void end(int /*choice*/, const Outcome& /*outcome*/) override {}

  void done(const std::vector<Outcome>& outcomes) override {
    const Outcome& outcome = outcomes.front();
    Json last = stream_ ? frame("", "", {}, true) : frame(outcome.text, outcome.thought, outcome.calls, true);
    last["done_reason"] = reason_name(outcome);
    last["total_duration"] = nanoseconds(outcome.total_ms);
    last["load_duration"] = 0;
    last["prompt_eval_count"] = outcome.stats.prompt_tokens;
    last["prompt_eval_duration"] = nanoseconds(outcome.stats.prefill_ms);
    last["eval_count"] = outcome.stats.generated_tokens;
    last["eval_duration"] = nanoseconds(outcome.stats.decode_ms);
    if (!stream_) return exchange_->respond({.body = to_text(last)});
    send(last);
    exchange_->finish();
  }

  void fail(const Refusal& refusal) override {
    if (!exchange_->begun()) return exchange_->respond(write_refusal(Dialect::ollama, refusal, exchange_->id()));
    exchange_->write(refusal_text(Dialect::ollama, refusal, exchange_->id()) + "\n");
    exchange_->finish();
  }

 private:
  bool send(const Json& json) { return exchange_->write(to_text(json) + "\n"); }

  /// Every line has its role: some clients wait for it.
  Json frame(const std::string& text, const std::string& thought, const std::vector<ToolCall>& calls, bool done) const {
    Json json = {{"model", model_}, {"created_at", now_text()}};
    if (chat_) {
      Json& message = json["message"] = {{"role", "assistant"}, {"content", text}};
      if (!thought.empty()) message["thinking"] = thought;
      for (const ToolCall& call : calls) {
        Json function = {{"name", call.name}};
        function["arguments"] = chat::parse_tool_arguments(call);
        Json entry = Json::object();
        entry["function"] = std::move(function);
        message["tool_calls"].push_back(std::move(entry));
      }
    } else {
      json["response"] = text;
      if (!thought.empty()) json["thinking"] = thought;
    }
    json["done"] = done;
    return json;
  }

  const std::shared_ptr<Exchange> exchange_;
  const std::string model_;
  const bool stream_;
  const bool chat_;
};

/// A request without words loads or unloads a model in Ollama. Here the model is always there; with keep_alive 0 the
/// client's conversations are forgotten.
void answer_without_words(Service& service, const Request& request, const Fields& body, bool chat,
                          const std::shared_ptr<Exchange>& exchange) {
  const Json* keep = body.find("keep_alive");
  const bool unloads = keep != nullptr && (*keep == 0 || *keep == "0");
  if (unloads) service.desk().conversations().forget(request.domain);
  Json json = {{"model", service.name()}, {"created_at", now_text()}};
  if (chat) {
    json["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    json["response"] = "";
  }
  json["done"] = true;
  json["done_reason"] = unloads ? "unload" : "load";
  exchange->respond({.body = to_text(json)});
}

void submit(Service& service, const Request& request, OllamaRequest asked, const std::shared_ptr<Exchange>& exchange) {
  check(asked.generation);
  auto writer = std::make_unique<Writer>(exchange, asked, service.name());
  service.desk().submit(request.domain, std::move(asked.generation), exchange, std::move(writer));
}

void chat_reply(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  OllamaRequest asked;
  asked.generation.sampling = service.sampling();
  asked.generation.messages = read_messages(fields);
  if (asked.generation.messages.empty()) return answer_without_words(service, request, fields, true, exchange);
  if (const Json* tools = fields.list("tools")) asked.generation.tools = chat::tools_from_json(*tools);
  read_common(fields, asked);
  submit(service, request, std::move(asked), exchange);
}

void generate_reply(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  OllamaRequest asked;
  asked.chat = false;
  asked.generation.sampling = service.sampling();
  const std::string prompt = fields.text("prompt").value_or("");
  if (prompt.empty()) return answer_without_words(service, request, fields, false, exchange);
  for (const char* name : {"template", "suffix", "context", "images"}) {
    const Json* value = fields.find(name);
    if (value != nullptr && !value->empty() && *value != "") fields.refuse_unsupported(name, "is not offered");
  }
  if (const auto system = fields.text("system"); system && !system->empty()) {
    asked.generation.messages.push_back({Role::system, *system});
  }
  const bool raw = fields.boolean("raw").value_or(false);
  if (raw && !asked.generation.messages.empty()) fields.refuse("system", "does not go with a raw prompt");
  asked.generation.messages.push_back({raw ? Role::prompt : Role::user, prompt});
  read_common(fields, asked);
  submit(service, request, std::move(asked), exchange);
}

void show(Service& service, const std::shared_ptr<Exchange>& exchange) {
  const ModelInfo& info = service.info();
  Json json = {{"license", ""}, {"modelfile", ""}, {"parameters", ""}, {"template", ""}};
  json["details"] = ollama_details(info);
  json["model_info"] = {{"general.architecture", "qwen3.5"},
                        {"general.parameter_count", info.parameters},
                        {"qwen3.5.context_length", service.context()},
                        {"qwen3.5.embedding_length", info.hidden_size},
                        {"qwen3.5.block_count", info.num_layers}};
  json["capabilities"] = {"completion", "tools", "thinking"};
  exchange->respond({.body = to_text(json)});
}

}  // namespace

void add_ollama(Router& router, Service& service) {
  router.post("/api/show", [&service](const Request&, const auto& exchange) { show(service, exchange); });
  router.post("/api/chat",
              [&service](const Request& request, const auto& exchange) { chat_reply(service, request, exchange); });
  router.post("/api/generate",
              [&service](const Request& request, const auto& exchange) { generate_reply(service, request, exchange); });
  for (const char* path :
       {"/api/embed", "/api/embeddings", "/api/pull", "/api/create", "/api/copy", "/api/delete", "/api/push"}) {
    router.post(path, [](const Request& request, const auto&) {
      throw Refusal(501, "not_implemented",
                    request.path + " is not offered: this server chats with the model it was started with.");
    });
  }
}

}  // namespace prosa::server
