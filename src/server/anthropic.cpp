// Anthropic's paths: /v1/messages and /v1/messages/count_tokens.
#include "server/anthropic.h"

#include "base/json.h"
#include "server/dialects.h"

namespace prosa::server {
namespace {

void messages(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  AnthropicRequest asked = read_anthropic(Fields(body), service.sampling(), false);
  auto writer = anthropic_writer(exchange, asked, service.name());
  service.desk().submit(request.domain, std::move(asked.generation), exchange, std::move(writer));
}

void count_tokens(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const AnthropicRequest asked = read_anthropic(Fields(body), service.sampling(), true);
  const size_t count = service.tokenize(service.render(asked.generation), ControlTokens::read).size();
  exchange->respond({.body = to_text(Json{{"input_tokens", count}})});
}

}  // namespace

void add_anthropic(Router& router, Service& service) {
  router.post("/v1/messages",
              [&service](const Request& request, const auto& exchange) { messages(service, request, exchange); });
  router.post("/v1/messages/count_tokens",
              [&service](const Request& request, const auto& exchange) { count_tokens(service, request, exchange); });
}

}  // namespace prosa::server
