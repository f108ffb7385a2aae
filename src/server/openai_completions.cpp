// OpenAI's /v1/completions: a text and what follows it, without a template and without roles.
//
// What the model thinks in tags of its own making is part of the text, without the tags. Refused by name: several
// prompts, token ids, echo, suffix, best_of, logprobs.
#include <ctime>

#include <fmt/format.h>

#include "base/json.h"
#include "server/dialects.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

constexpr int kDefaultTokens = 16;  // OpenAI's
constexpr int kMaxChoices = 16;

struct CompletionRequest {
  Generation generation;
  bool stream = false;
  bool include_usage = false;
};

std::string read_prompt(const Fields& body) {
  const Json* prompt = body.find("prompt");
  if (prompt == nullptr) body.refuse("prompt", "is missing");
  if (prompt->is_array() && !prompt->empty() && !prompt->front().is_string()) {
    body.refuse_unsupported("prompt", "prompts are read as text, and not as token ids", "Send /detokenize's content.");
  }
  const std::vector<std::string> texts = body.texts("prompt");
  if (texts.size() > 1) body.refuse_unsupported("prompt", "one prompt is read at a time", "Send a request for each.");
  if (texts.empty() || texts.front().empty()) body.refuse("prompt", "is empty");
  return texts.front();
}

CompletionRequest read_completion(const Fields& body, const SamplingConfig& defaults) {
  CompletionRequest request;
  Generation& generation = request.generation;
  generation.sampling = defaults;
  generation.sampling.max_tokens = kDefaultTokens;
  static_cast<void>(body.text("model"));
  generation.messages.push_back({Role::prompt, read_prompt(body)});
  read_sampling(body, generation.sampling);
  read_seed(body, generation.sampling);
  if (body.integer("max_tokens", -1, kMaxInteger) == -1) generation.sampling.max_tokens = defaults.max_tokens;
  read_max_tokens(body, "max_tokens", generation.sampling);
  if (body.has("stop")) generation.sampling.stop = body.texts("stop");
  generation.choices = static_cast<int>(body.integer("n", 1, kMaxChoices).value_or(1));
  if (body.boolean("echo").value_or(false)) body.refuse_unsupported("echo", "the prompt is not repeated");
  if (!body.text("suffix").value_or("").empty()) body.refuse_unsupported("suffix", "text is only gone on with");
  if (body.integer("best_of", 1, kMaxInteger).value_or(1) > generation.choices) {
    body.refuse_unsupported("best_of", "replies are not ranked");
  }
  if (body.has("logprobs")) body.refuse_unsupported("logprobs", "log-probabilities of tokens are not given");
  if (const Json* bias = body.find("logit_bias"); bias != nullptr && !bias->empty()) {
    body.refuse_unsupported("logit_bias", "tokens can't be favoured one by one");
  }
  check(generation);
  request.stream = body.boolean("stream").value_or(false);
  if (const auto options = body.object("stream_options")) {
    request.include_usage = options->boolean("include_usage").value_or(false);
  }
  return request;
}

class Writer : public ReplyWriter {
 public:
  Writer(std::shared_ptr<Exchange> exchange, const CompletionRequest& request, std::string model)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        id_("cmpl-" + random_digits(12)),
        created_(static_cast<int64_t>(std::time(nullptr))),
        texts_(static_cast<size_t>(request.generation.choices)),
        stream_(request.stream),
        include_usage_(request.include_usage) {
    if (stream_) exchange_->open_stream(StreamKind::events);
  }

  void begin(int /*choice*/, const ReplyStats& /*stats*/) override {}

  bool piece(int choice, const Piece& piece) override {
    texts_[static_cast<size_t>(choice)] += piece.text;
    if (!stream_ || piece.text.empty()) return !exchange_->gone();
    return send(choice, piece.text, "");
  }

  void end(int choice, const Outcome& outcome) override {
    if (stream_) send(choice, "", openai_finish(outcome));
  }

  void done(const std::vector<Outcome>& outcomes) override {
    Json json = frame();
    Json& choices = json["choices"] = Json::array();
    if (!stream_) {
      for (size_t i = 0; i < outcomes.size(); ++i) {
        choices.push_back(choice_of(static_cast<int>(i), texts_[i], openai_finish(outcomes[i])));
      }
      json["timings"] = openai_timings(outcomes.back().stats);
    }
    json["usage"] = openai_usage(outcomes);
    if (!stream_) return exchange_->respond({.body = to_text(json)});
    if (include_usage_) exchange_->write("data: " + to_text(json) + "\n\n");
    exchange_->write("data: [DONE]\n\n");
    exchange_->finish();
  }

  void fail(const Refusal& refusal) override { openai_fail(*exchange_, refusal); }

 private:
  Json frame() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", model_},
            {"system_fingerprint", kFingerprint}};
  }

  static Json choice_of(int index, const std::string& text, std::string_view finish) {
    return {{"text", text},
            {"index", index},
            {"logprobs", nullptr},
            {"finish_reason", finish.empty() ? Json() : Json(finish)}};
  }

  bool send(int choice, const std::string& text, std::string_view finish) {
    Json chunk = frame();
    chunk["choices"] = Json::array({choice_of(choice, text, finish)});
    if (include_usage_) chunk["usage"] = nullptr;
    return exchange_->write("data: " + to_text(chunk) + "\n\n");
  }

  const std::shared_ptr<Exchange> exchange_;
  const std::string model_;
  const std::string id_;
  const int64_t created_;
  std::vector<std::string> texts_;  // of each choice
  const bool stream_;
  const bool include_usage_;
};

void completions(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  CompletionRequest asked = read_completion(Fields(body), service.sampling());
  auto writer = std::make_unique<Writer>(exchange, asked, service.name());
  service.desk().submit(request.domain, std::move(asked.generation), exchange, std::move(writer));
}

}  // namespace

void add_openai_completions(Router& router, Service& service) {
  for (const char* path : {"/v1/completions", "/completions"}) {
    router.post(path,
                [&service](const Request& request, const auto& exchange) { completions(service, request, exchange); });
  }
}

}  // namespace prosa::server
