// /slots: what each conversation of a key is doing, in numbers.
//
// No text of any message, and nothing of other keys: that somebody asks, and how much, is theirs.
#include "server/dialects.h"
#include "server/json_text.h"

namespace prosa::server {
namespace {

void slots(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json list = Json::array();
  for (const Desk::Slot& slot : service.desk().slots(request.domain)) {
    const char* state = !slot.running ? "waiting" : slot.reading ? "reading" : "speaking";
    list.push_back({{"id", list.size()},
                    {"is_processing", slot.running},
                    {"state", state},
                    {"messages", slot.messages},
                    {"prompt_tokens", slot.prompt_tokens},
                    {"cached_tokens", slot.cached_tokens},
                    {"generated_tokens", slot.generated_tokens},
                    {"seconds", slot.seconds}});
  }
  for (const Conversations::Idle& idle : service.desk().conversations().idle_of(request.domain)) {
    list.push_back({{"id", list.size()},
                    {"is_processing", false},
                    {"state", "warm"},
                    {"messages", idle.messages},
                    {"bytes", idle.bytes}});
  }
  exchange->respond({.body = to_text(list)});
}

}  // namespace

void add_slots(Router& router, Service& service) {
  router.get("/slots", [&service](const Request& request, const auto& exchange) { slots(service, request, exchange); });
}

}  // namespace prosa::server
