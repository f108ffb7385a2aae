// The dialects: each adds the paths of one API to the router. One thin file (or two) for each.
#pragma once

#include "server/router.h"
#include "server/service.h"

namespace prosa::server {

// `service` outlives the router.
void add_openai(Router& router, Service& service);
/// /v1/completions: text that is gone on with, without a conversation.
void add_openai_completions(Router& router, Service& service);
/// /v1/responses, and /input_tokens of it and of chat.
void add_responses(Router& router, Service& service);
/// /v1/score: log-probabilities of options.
void add_score(Router& router, Service& service);
void add_ollama(Router& router, Service& service);
void add_anthropic(Router& router, Service& service);
/// /slots: what the conversations of a key are doing.
void add_slots(Router& router, Service& service);
/// / and /page: what browsers show; at / other clients read that "Ollama is running". /openapi.json.
void add_page(Router& router);
/// /tokenize, /detokenize, /apply-template, /props.
void add_plain(Router& router, Service& service);

}  // namespace prosa::server
