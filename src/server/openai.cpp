// OpenAI's chat: /v1/chat/completions, with and without /v1.
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

}  // namespace

void add_openai(Router& router, Service& service) {
  for (const std::string prefix : {"/v1", ""}) {
    router.post(prefix + "/chat/completions", [&service](const Request& request, const auto& exchange) {
      chat_completions(service, request, exchange);
    });
  }
}

}  // namespace prosa::server
