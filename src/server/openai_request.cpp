// Reading OpenAI's chat requests (openai.h).
#include "server/openai.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "chat/message_json.h"
#include "prosa/error.h"
#include "server/responses.h"

namespace prosa::server {
namespace {

constexpr int kMaxChoices = 16;
constexpr double kMaxSeed = 9007199254740992.0;  // 2^53: beyond it, JSON's numbers are not exact

void read_stop(const Fields& body, SamplingConfig& sampling) {
  if (body.has("stop")) sampling.stop = body.texts("stop");
}

void read_reasoning(const Fields& body, SamplingConfig& sampling) {
  read_effort(body, "reasoning_effort", sampling);
  if (const auto budget = body.integer("thinking_budget_tokens", 0, kMaxInteger)) {
    sampling.max_thinking_tokens = static_cast<int>(*budget);
  }
  const auto variables = body.object("chat_template_kwargs");
  if (!variables) return;
  if (const auto thinking = variables->boolean("enable_thinking")) set_thinking(sampling, *thinking);
  for (const auto& [name, value] : body.find("chat_template_kwargs")->items()) {
    if (name != "enable_thinking") sampling.template_variables[name] = to_text(value);
  }
}

void read_tools(const Fields& body, Generation& generation) {
  if (body.has("functions") || body.has("function_call")) {
    body.refuse_unsupported(body.has("functions") ? "functions" : "function_call", "is the old form of tools",
                            "Send tools and tool_choice.");
  }
  if (const Json* tools = body.list("tools")) generation.tools = chat::tools_from_json(*tools);
  if (const auto parallel = body.boolean("parallel_tool_calls")) generation.sampling.parallel_tool_calls = *parallel;
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_object()) {
    const Fields named(*choice, "tool_choice");
    if (named.required_text("type") != "function") named.refuse("type", "must be \"function\"");
    const auto function = named.object("function");
    if (!function) named.refuse("function", "is missing");
    generation.sampling.tool_choice = ToolChoice::named(function->required_text("name"));
    return;
  }
  const std::string kind = body.required_text("tool_choice");
  if (kind == "required") {
    generation.sampling.tool_choice = ToolChoice::required();
  } else if (kind == "none") {
    generation.sampling.tool_choice = ToolChoice::none();  // the prompt stays what it was
  } else if (kind != "auto") {
    body.refuse("tool_choice", "must be \"auto\", \"none\", \"required\" or a function");
  }
}

/// What the answer has to be: response_format as OpenAI has it, and two fields of llama.cpp's server.
void read_format(const Fields& body, SamplingConfig& sampling) {
  if (const Json* schema = body.find("json_schema")) sampling.format = ReplyFormat::json_schema(to_text(*schema));
  if (const auto grammar = body.text("grammar")) sampling.format = ReplyFormat::grammar(*grammar);
  const auto format = body.object("response_format");
  if (!format) return;
  const std::string type = format->required_text("type");
  if (type == "json_object") {
    const Json* schema = format->find("schema");
    sampling.format = schema == nullptr ? ReplyFormat::json_object() : ReplyFormat::json_schema(to_text(*schema));
  } else if (type == "json_schema") {
    const auto holder = format->object("json_schema");
    if (!holder) format->refuse("json_schema", "is missing");
    const Json* schema = holder->find("schema");
    if (schema == nullptr) holder->refuse("schema", "is missing");
    sampling.format = ReplyFormat::json_schema(to_text(*schema));
  } else if (type != "text") {
    format->refuse("type", "must be text, json_object or json_schema");
  }
}

void refuse_what_is_not_done(const Fields& body) {
  if (body.boolean("logprobs").value_or(false) || body.integer("top_logprobs", 0, 20).value_or(0) > 0) {
    body.refuse_unsupported("logprobs", "log-probabilities of tokens are not given");
  }
  if (const Json* bias = body.find("logit_bias"); bias != nullptr && !bias->empty()) {
    body.refuse_unsupported("logit_bias", "tokens can't be favoured one by one");
  }
  if (const Json* modalities = body.list("modalities")) {
    for (const Json& each : *modalities) {
      if (each != "text") body.refuse_unsupported("modalities", "replies are text");
    }
  }
  for (const char* name : {"audio", "web_search_options"}) {
    if (body.has(name)) body.refuse_unsupported(name, "is not offered");
  }
}

}  // namespace

void read_effort(const Fields& fields, std::string_view name, SamplingConfig& sampling) {
  const auto effort = fields.text(name);
  if (!effort) return;
  constexpr std::pair<std::string_view, int> kBudgets[] = {{"none", 0},      {"minimal", 128}, {"low", 512},
                                                           {"medium", 2048}, {"high", 8192},   {"xhigh", 8192}};
  const auto* const found =
      std::ranges::find(kBudgets, std::string_view(*effort), &std::pair<std::string_view, int>::first);
  if (found == std::end(kBudgets)) {
    fields.refuse(name, fmt::format("is \"{}\", but must be none, minimal, low, medium or high", *effort));
  }
  set_thinking(sampling, *effort != "none");
  if (*effort != "none") sampling.max_thinking_tokens = found->second;
}

void set_thinking(SamplingConfig& sampling, bool on) {
  sampling.enable_thinking = on;
  sampling.disable_thinking = !on;
}

void read_sampling(const Fields& fields, SamplingConfig& sampling) {
  const auto read = [&fields](const char* name, std::optional<float>& value) {
    if (const auto given = fields.number(name)) value = static_cast<float>(*given);
  };
  read("temperature", sampling.temperature);
  read("top_p", sampling.top_p);
  read("min_p", sampling.min_p);
  read("presence_penalty", sampling.presence_penalty);
  read("frequency_penalty", sampling.frequency_penalty);
  read("repetition_penalty", sampling.repetition_penalty);
  read("repeat_penalty", sampling.repetition_penalty);
  if (const auto count = fields.integer("top_k", -1, kMaxInteger))
    sampling.top_k = std::max(0, static_cast<int>(*count));
  // 0 means greedy to some clients; the sampler wants a share above it.
  if (sampling.top_p == 0.0F) {
    sampling.top_p.reset();
    sampling.top_k = 1;
  }
}

void read_seed(const Fields& fields, SamplingConfig& sampling) {
  const auto seed = fields.integer("seed", static_cast<int64_t>(-kMaxSeed), static_cast<int64_t>(kMaxSeed));
  if (seed && *seed >= 0) sampling.seed = static_cast<uint64_t>(*seed);
}

void read_max_tokens(const Fields& fields, std::string_view name, SamplingConfig& sampling) {
  const auto most = fields.integer(name, -1, kMaxInteger);
  if (!most || *most == -1) return;
  if (*most == 0) fields.refuse(name, "is 0, but must be 1 or more");
  sampling.max_tokens = static_cast<int>(*most);
}

void check(const Generation& generation) {
  validate(generation.sampling);
  const ToolChoice& choice = generation.sampling.tool_choice;
  const bool calls = choice.kind == ToolChoice::Kind::required || choice.kind == ToolChoice::Kind::named;
  if (calls && generation.tools.empty()) {
    throw Error(ErrorCode::invalid_argument, "asks for a call, and there are no tools", "tool_choice");
  }
}

OpenAiChatRequest read_openai_chat(const Fields& body, const SamplingConfig& defaults) {
  OpenAiChatRequest request;
  Generation& generation = request.generation;
  generation.sampling = defaults;
  static_cast<void>(body.text("model"));
  const Json* messages = body.list("messages");
  if (messages == nullptr || messages->empty()) body.refuse("messages", "is missing or empty");
  generation.messages = chat::messages_from_json(*messages);
  merge_system(generation.messages);
  read_tools(body, generation);
  read_sampling(body, generation.sampling);
  read_seed(body, generation.sampling);
  read_max_tokens(body, "max_tokens", generation.sampling);
  read_max_tokens(body, "max_completion_tokens", generation.sampling);
  read_stop(body, generation.sampling);
  read_reasoning(body, generation.sampling);
  if (const auto goes_on = body.boolean("continue_final_message")) {
    generation.sampling.continue_final_message = *goes_on;
  }
  generation.choices = static_cast<int>(body.integer("n", 1, kMaxChoices).value_or(1));
  read_format(body, generation.sampling);
  refuse_what_is_not_done(body);
  check(generation);
  request.stream = body.boolean("stream").value_or(false);
  if (const auto options = body.object("stream_options")) {
    request.include_usage = options->boolean("include_usage").value_or(false);
  }
  return request;
}

}  // namespace prosa::server
