// OpenAI's /v1/responses: JSON to a Generation, and what is said back to items and events.
//
// Not the paths (responses.cpp) and not the store of answers (response_store.h). What a request asks for and prosa does
// not do is refused by its path; tools that a provider would run itself (web_search and the like) are skipped, for
// clients name them without knowing whom they speak to. Invariant: an item has the same id and place in every event and
// in the object at the end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/desk.h"
#include "server/json_text.h"
#include "server/response_store.h"
#include "server/service.h"

namespace prosa::server {

struct ResponsesRequest {
  Generation generation;
  std::vector<Message> conversation;  // its messages without instructions: what an answer goes on from
  Json echo = Json::object();         // fields of the response object that repeat what was asked for
  bool stream = false;
  bool store = true;
  bool drops_oldest = false;  // truncation: "auto"
};

/// Errors name the field. `previous`: what previous_response_id stands for, or null.
ResponsesRequest read_responses(const Fields& body, const SamplingConfig& defaults, const StoredResponse* previous);

/// One system message in front, with the words of all: the model's template knows no other.
void merge_system(std::vector<Message>& messages);

/// Where an answer is kept, and for whom.
struct AnswerKeeper {
  ResponseStore* store = nullptr;  // null: nowhere
  size_t domain = 0;
};

std::unique_ptr<ReplyWriter> responses_writer(const std::shared_ptr<Exchange>& exchange, ResponsesRequest& request,
                                              const std::string& model, const AnswerKeeper& keeper);

}  // namespace prosa::server
