// OpenAI's paths: /v1/responses, its answers by id, and input_tokens of both kinds of requests, with and without /v1.
#include "server/responses.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/json.h"
#include "server/dialects.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

/// Of the context, kept free for the answer where the oldest messages are left out.
constexpr int64_t kAnswerShare = 4;

std::shared_ptr<const StoredResponse> previous_of(Service& service, size_t domain, const Fields& body) {
  const auto id = body.text("previous_response_id");
  if (!id) return nullptr;
  auto found = service.responses().find(domain, *id);
  if (found) return found;
  throw Refusal(404, "previous_response_not_found",
                fmt::format("There is no response \"{}\" here: it was not stored, or has been forgotten.", *id),
                "previous_response_id");
}

size_t count_tokens(Service& service, const Generation& generation) {
  return service.tokenize(service.render(generation), ControlTokens::read).size();
}

/// Leaves the oldest turns out until the others fit and leave room for an answer; never the last one.
void drop_oldest(Service& service, Generation& generation) {
  const int64_t room = service.context() - service.context() / kAnswerShare;
  std::vector<Message>& list = generation.messages;
  while (static_cast<int64_t>(count_tokens(service, generation)) > room) {
    const auto is_user = [](const Message& message) { return message.role == Role::user; };
    const auto first = list.begin() + (list.front().role == Role::system ? 1 : 0);
    if (first == list.end()) return;
    const auto next = std::find_if(first + 1, list.end(), is_user);
    if (next == list.end()) return;
    list.erase(first, next);
  }
}

void respond(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  const auto previous = previous_of(service, request.domain, fields);
  ResponsesRequest asked = read_responses(fields, service.sampling(), previous.get());
  if (asked.drops_oldest) drop_oldest(service, asked.generation);
  auto writer = responses_writer(exchange, asked, service.name(), {&service.responses(), request.domain});
  service.desk().submit(request.domain, std::move(asked.generation), exchange, std::move(writer));
}

void answer_count(Service& service, const Generation& generation, Exchange& exchange) {
  exchange.respond({.body = to_text(Json{{"object", "response.input_tokens"},
                                         {"input_tokens", count_tokens(service, generation)}})});
}

void count_responses(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  const Fields fields(body);
  const auto previous = previous_of(service, request.domain, fields);
  answer_count(service, read_responses(fields, service.sampling(), previous.get()).generation, *exchange);
}

void count_chat(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  answer_count(service, read_openai_chat(Fields(body), service.sampling()).generation, *exchange);
}

std::string id_of(const Request& request) {
  const std::string path = without_last_slash(request.path);
  return path.substr(path.rfind('/') + 1);
}

[[noreturn]] void refuse_id(const std::string& id) {
  throw Refusal(404, "not_found", fmt::format("There is no response \"{}\" here.", id.substr(0, 200)), "response_id");
}

void stored(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  const std::string id = id_of(request);
  const auto found = service.responses().find(request.domain, id);
  if (!found) refuse_id(id);
  if (("&" + request.query + "&").find("&stream=true&") != std::string::npos) {
    throw Refusal(400, "unsupported", "An answer that is complete is not streamed again.", "stream");
  }
  exchange->respond({.body = found->json});
}

void forget(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  const std::string id = id_of(request);
  if (!service.responses().erase(request.domain, id)) refuse_id(id);
  exchange->respond({.body = to_text(Json{{"id", id}, {"object", "response"}, {"deleted", true}})});
}

}  // namespace

void add_responses(Router& router, Service& service) {
  const auto with = [&service](auto function) {
    return [&service, function](const Request& request, const std::shared_ptr<Exchange>& exchange) {
      function(service, request, exchange);
    };
  };
  for (const std::string prefix : {"/v1", ""}) {
    router.post(prefix + "/responses", with(respond));
    router.post(prefix + "/responses/input_tokens", with(count_responses));
    router.post(prefix + "/chat/completions/input_tokens", with(count_chat));
    router.get(prefix + "/responses/*", with(stored));
    router.remove(prefix + "/responses/*", with(forget));
  }
}

}  // namespace prosa::server
