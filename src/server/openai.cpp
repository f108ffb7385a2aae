// OpenAI's paths: /v1/chat/completions and /v1/models, with and without /v1.
#include "server/openai.h"

#include "base/json.h"
#include "server/dialects.h"

namespace prosa::server {
namespace {

void chat_completions(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  OpenAiChatRequest asked = read_openai_chat(Fields(body), service.sampling());
  auto writer = openai_chat_writer(exchange, asked, service.name());
  service.desk().submit(request.domain, std::move(asked.generation), exchange, std::move(writer));
}

Json model_json(const Service& service) {
  return {{"id", service.name()},
          {"object", "model"},
          {"created", service.created()},
          {"owned_by", "prosa"},
          {"meta",
           {{"n_ctx", service.context()},
            {"n_params", service.info().parameters},
            {"n_vocab", service.info().vocab_size}}}};
}

}  // namespace

void add_openai(Router& router, Service& service) {
  for (const std::string prefix : {"/v1", ""}) {
    router.post(prefix + "/chat/completions", [&service](const Request& request, const auto& exchange) {
      chat_completions(service, request, exchange);
    });
    router.get(prefix + "/models", [&service](const Request&, const auto& exchange) {
      Json list = {{"object", "list"}};
      list["data"] = Json::array({model_json(service)});
      exchange->respond({.body = to_text(list)});
    });
    router.get(prefix + "/models/" + service.name(), [&service](const Request&, const auto& exchange) {
      exchange->respond({.body = to_text(model_json(service))});
    });
  }
}

}  // namespace prosa::server
