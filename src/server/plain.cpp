// Paths of no vendor's: text to tokens and back, and what requests leave open.
#include "base/json.h"
#include "server/dialects.h"
#include "server/json_text.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

/// {"content", "as_text"?} -> {"tokens"}. Control tokens that the content spells are read, unless as_text.
void tokenize(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  const bool as_text = fields.boolean("as_text").value_or(!fields.boolean("parse_special").value_or(true));
  const std::string content = fields.required_text("content");
  const auto tokens = service.tokenize(content, as_text ? ControlTokens::as_text : ControlTokens::read);
  exchange->respond({.body = to_text(Json{{"tokens", tokens}})});
}

/// {"tokens": [ids]} -> {"content"}.
void detokenize(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  const Json* list = fields.list("tokens");
  if (list == nullptr) fields.refuse("tokens", "is missing");
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& token = (*list)[i];
    if (!token.is_number_integer() || token < 0 || token > kMaxInteger) {
      fields.refuse("tokens[" + std::to_string(i) + "]", "must be the number of a token");
    }
    tokens.push_back(token.get<int32_t>());
  }
  exchange->respond({.body = to_text(Json{{"content", service.detokenize(tokens)}})});
}

/// A chat request -> {"prompt"}: what the model would read.
void apply_template(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const OpenAiChatRequest asked = read_openai_chat(Fields(body), service.sampling());
  exchange->respond({.body = to_text(Json{{"prompt", service.render(asked.generation)}})});
}

void props(Service& service, const std::shared_ptr<Exchange>& exchange) {
  const SamplingConfig sampling = with_defaults(service.sampling(), service.info().sampling);
  Json parameters = {{"n_ctx", service.context()},
                     {"temperature", *sampling.temperature},
                     {"top_k", *sampling.top_k},
                     {"top_p", *sampling.top_p},
                     {"min_p", *sampling.min_p},
                     {"repeat_penalty", *sampling.repetition_penalty},
                     {"presence_penalty", *sampling.presence_penalty},
                     {"frequency_penalty", *sampling.frequency_penalty}};
  Json json = {{"model_alias", service.name()}, {"build_info", "prosa " PROSA_VERSION}};
  json["default_generation_settings"] = std::move(parameters);
  json["modalities"] = {{"vision", false}, {"audio", false}};
  exchange->respond({.body = to_text(json)});
}

}  // namespace

void add_plain(Router& router, Service& service) {
  router.get("/props", [&service](const Request&, const auto& exchange) { props(service, exchange); });
  router.post("/tokenize",
              [&service](const Request& request, const auto& exchange) { tokenize(service, request, exchange); });
  router.post("/detokenize",
              [&service](const Request& request, const auto& exchange) { detokenize(service, request, exchange); });
  router.post("/apply-template",
              [&service](const Request& request, const auto& exchange) { apply_template(service, request, exchange); });
}

}  // namespace prosa::server
