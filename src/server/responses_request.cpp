// Reading requests of /v1/responses (responses.h).
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "chat/message_json.h"
#include "server/openai.h"
#include "server/responses.h"
#include "server/responses_input.h"

namespace prosa::server {
namespace {

/// Functions only: what a provider would run by itself is nobody's here. `allowed`: null is all of them.
void read_functions(const Fields& body, const std::set<std::string>* allowed, Generation& generation) {
  const Json* tools = body.list("tools");
  if (tools == nullptr) return;
  for (size_t i = 0; i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("tools[{}]", i));
    if (tool.required_text("type") != "function") continue;
    const std::string name = tool.required_text("name");
    if (allowed != nullptr && !allowed->contains(name)) continue;
    Json function = {{"name", name}};
    if (const auto text = tool.text("description")) function["description"] = *text;
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    const Json* schema = tool.find("parameters");
    function["parameters"] = schema != nullptr ? *schema : Json{{"type", "object"}};
    Json outer = {{"type", "function"}};
    outer["function"] = std::move(function);
    generation.tools.push_back({to_text(outer)});
    static_cast<void>(chat::parse_tool(generation.tools.back(), i));  // its errors
  }
}

/// "auto", "none", "required", of one function, or of some of them ("allowed_tools"), whose names go to `allowed`.
void read_choice(const Fields& body, Generation& generation, std::set<std::string>& allowed) {
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) return;
  std::string mode;
  if (choice->is_object()) {
    const Fields fields(*choice, "tool_choice");
    const std::string type = fields.required_text("type");
    if (type == "function") {
      generation.sampling.tool_choice = ToolChoice::named(fields.required_text("name"));
      return;
    }
    if (type != "allowed_tools") {
      fields.refuse_unsupported("type", fmt::format("\"{}\" can't be asked for here", type), "Name a function.");
    }
    const Json* list = fields.list("tools");
    if (list == nullptr) fields.refuse("tools", "is missing");
    for (size_t i = 0; i < list->size(); ++i) {
      const Fields tool((*list)[i], fmt::format("tool_choice.tools[{}]", i));
      if (tool.required_text("type") == "function") allowed.insert(tool.required_text("name"));
    }
    mode = fields.text("mode").value_or("auto");
  } else {
    mode = body.required_text("tool_choice");
  }
  if (mode == "required") {
    generation.sampling.tool_choice = ToolChoice::required();
  } else if (mode == "none") {
    generation.sampling.tool_choice = ToolChoice::none();
  } else if (mode != "auto") {
    body.refuse("tool_choice", "must be \"auto\", \"none\", \"required\", a function or allowed_tools");
  }
}

void read_text_format(const Fields& body, SamplingConfig& sampling) {
  const auto text = body.object("text");
  if (!text) return;
  const auto format = text->object("format");
  if (!format) return;
  const std::string type = format->required_text("type");
  if (type == "json_object") {
    sampling.format = ReplyFormat::json_object();
  } else if (type == "json_schema") {
    const Json* schema = format->find("schema");
    if (schema == nullptr) format->refuse("schema", "is missing");
    sampling.format = ReplyFormat::json_schema(to_text(*schema));
  } else if (type != "text") {
    format->refuse("type", "must be text, json_object or json_schema");
  }
}

void refuse_what_is_not_offered(const Fields& body) {
  if (body.boolean("background").value_or(false)) {
    body.refuse_unsupported("background", "answers are made while their client waits", "Leave it out.");
  }
  for (const char* name : {"conversation", "prompt"}) {
    if (body.has(name)) body.refuse_unsupported(name, "nothing of that kind is kept here", "Send input.");
  }
  if (body.integer("top_logprobs", 0, 20).value_or(0) > 0) {
    body.refuse_unsupported("top_logprobs", "log-probabilities of tokens are not given");
  }
  for (const std::string& each : body.texts("include")) {
    if (each == "message.output_text.logprobs") {
      body.refuse_unsupported("include", "log-probabilities of tokens are not given");
    }
  }
}

void check_metadata(const Fields& body) {
  const auto metadata = body.object("metadata");
  if (!metadata) return;
  for (const auto& [name, value] : body.find("metadata")->items()) {
    if (!value.is_string()) metadata->refuse(name, "must be a string");
  }
}

Json given(const Fields& body, const char* name, Json otherwise) {
  const Json* value = body.find(name);
  return value != nullptr ? *value : std::move(otherwise);
}

/// What the response object repeats, in OpenAI's order.
Json echo_of(const Fields& body, const SamplingConfig& sampling, bool store) {
  const auto reasoning = body.object("reasoning");
  Json text = given(body, "text", Json::object());
  if (!text.contains("format") || text["format"].is_null()) text["format"] = {{"type", "text"}};
  Json echo = Json::object();
  echo["instructions"] = given(body, "instructions", nullptr);
  echo["max_output_tokens"] = given(body, "max_output_tokens", nullptr);
  echo["max_tool_calls"] = given(body, "max_tool_calls", nullptr);
  echo["metadata"] = given(body, "metadata", Json::object());
  echo["parallel_tool_calls"] = sampling.parallel_tool_calls;
  echo["previous_response_id"] = given(body, "previous_response_id", nullptr);
  echo["prompt_cache_key"] = given(body, "prompt_cache_key", nullptr);
  echo["reasoning"] = {{"effort", reasoning ? given(*reasoning, "effort", nullptr) : Json()}, {"summary", nullptr}};
  echo["safety_identifier"] = given(body, "safety_identifier", nullptr);
  echo["service_tier"] = "default";
  echo["store"] = store;
  echo["temperature"] = sampling.temperature ? Json(*sampling.temperature) : Json();
  echo["text"] = std::move(text);
  echo["tool_choice"] = given(body, "tool_choice", "auto");
  echo["tools"] = given(body, "tools", Json::array());
  echo["top_logprobs"] = 0;
  echo["top_p"] = sampling.top_p ? Json(*sampling.top_p) : Json();
  echo["truncation"] = given(body, "truncation", "disabled");
  echo["user"] = given(body, "user", nullptr);
  return echo;
}

}  // namespace

void merge_system(std::vector<Message>& messages) {
  std::string words;
  size_t count = 0;
  for (const Message& message : messages) {
    if (message.role != Role::system) continue;
    if (count++ > 0 && !words.empty() && !message.content.empty()) words += "\n\n";
    words += message.content;
  }
  if (count == 0 || (count == 1 && messages.front().role == Role::system)) return;
  std::erase_if(messages, [](const Message& message) { return message.role == Role::system; });
  messages.insert(messages.begin(), {Role::system, std::move(words)});
}

ResponsesRequest read_responses(const Fields& body, const SamplingConfig& defaults, const StoredResponse* previous) {
  ResponsesRequest request;
  Generation& generation = request.generation;
  SamplingConfig& sampling = generation.sampling;
  sampling = defaults;
  static_cast<void>(body.text("model"));
  request.conversation = read_input(body, previous);
  if (const auto words = body.text("instructions")) generation.messages.push_back({Role::system, *words});
  generation.messages.insert(generation.messages.end(), request.conversation.begin(), request.conversation.end());
  merge_system(generation.messages);
  std::set<std::string> allowed;
  read_choice(body, generation, allowed);
  read_functions(body, allowed.empty() ? nullptr : &allowed, generation);
  if (const auto parallel = body.boolean("parallel_tool_calls")) sampling.parallel_tool_calls = *parallel;
  read_sampling(body, sampling);
  read_seed(body, sampling);
  read_max_tokens(body, "max_output_tokens", sampling);
  if (const auto reasoning = body.object("reasoning")) read_effort(*reasoning, "effort", sampling);
  read_text_format(body, sampling);
  refuse_what_is_not_offered(body);
  check_metadata(body);
  const std::string truncation = body.text("truncation").value_or("disabled");
  if (truncation != "disabled" && truncation != "auto") body.refuse("truncation", "must be disabled or auto");
  request.drops_oldest = truncation == "auto";
  request.stream = body.boolean("stream").value_or(false);
  static_cast<void>(body.object("stream_options"));
  request.store = body.boolean("store").value_or(true);
  check(generation);
  request.echo = echo_of(body, sampling, request.store);
  return request;
}

}  // namespace prosa::server
