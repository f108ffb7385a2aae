// Anthropic's messages: JSON to a Generation, and what is said back as content blocks.
//
// Not the paths (anthropic.cpp has them). What a request asks for and prosa does not do is refused by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/desk.h"
#include "server/exchange.h"
#include "server/json_text.h"

namespace prosa::server {

struct AnthropicRequest {
  Generation generation;
  bool stream = false;
};

/// `counts`: the request only asks for the number of tokens, and has no max_tokens. Errors name the field.
AnthropicRequest read_anthropic(const Fields& body, const SamplingConfig& defaults, bool counts);

std::unique_ptr<ReplyWriter> anthropic_writer(const std::shared_ptr<Exchange>& exchange,
                                              const AnthropicRequest& request, const std::string& model);

}  // namespace prosa::server
