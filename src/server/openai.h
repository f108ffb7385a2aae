// OpenAI's chat requests: JSON to a Generation, and what is said back to JSON.
//
// Not the paths (openai.cpp has them), and not /v1/completions (openai_completions.cpp), which shares what stands here.
// What a request asks for and prosa does not do is refused by name, never ignored; fields that change no reply (user,
// metadata, service_tier) are not looked at.
#pragma once

#include <memory>
#include <string>

#include "server/desk.h"
#include "server/exchange.h"
#include "server/json_text.h"
#include "server/service.h"

namespace prosa::server {

struct OpenAiChatRequest {
  Generation generation;
  bool stream = false;
  bool include_usage = false;  // at the end of a stream
};

/// Errors name the field.
OpenAiChatRequest read_openai_chat(const Fields& body, const SamplingConfig& defaults);

/// Reads fields that have the same names in several dialects: temperature, top_p, top_k, min_p and the penalties.
void read_sampling(const Fields& fields, SamplingConfig& sampling);
/// A seed that a client gives; a negative one is none.
void read_seed(const Fields& fields, SamplingConfig& sampling);
/// -1 is no limit; nothing leaves it as it is.
void read_max_tokens(const Fields& fields, std::string_view name, SamplingConfig& sampling);
/// How much to think: "none" switches it off, the others are budgets.
void read_effort(const Fields& fields, std::string_view name, SamplingConfig& sampling);
/// Thinking on or off, whatever was the default.
void set_thinking(SamplingConfig& sampling, bool on);
/// validate(), and what it refuses in the terms of a request.
void check(const Generation& generation);

/// "stop", "length" or "tool_calls".
std::string_view openai_finish(const Outcome& outcome);
Json openai_usage(const std::vector<Outcome>& outcomes);
Json openai_timings(const ReplyStats& stats);
/// Ends an answer that failed: by a status where none was sent yet, else by an event of the stream.
void openai_fail(Exchange& exchange, const Refusal& refusal);
inline constexpr const char* kFingerprint = "b" PROSA_VERSION "-prosa";

std::unique_ptr<ReplyWriter> openai_chat_writer(const std::shared_ptr<Exchange>& exchange,
                                                const OpenAiChatRequest& request, const std::string& model);

}  // namespace prosa::server
