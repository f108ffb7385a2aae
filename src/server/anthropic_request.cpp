// Reading Anthropic's messages (anthropic.h).
//
// Their messages hold blocks: a tool's result is a block of the user's message there, and a message of its own here.
#include <fmt/format.h>

#include "chat/message_json.h"
#include "prosa/error.h"
#include "server/anthropic.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

/// A text, or a list of text blocks.
std::string text_of(const Fields& fields, std::string_view name) {
  const Json* value = fields.find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  const Json* blocks = fields.list(name);
  std::string text;
  for (size_t i = 0; i < blocks->size(); ++i) {
    const Fields block((*blocks)[i], fmt::format("{}[{}]", fields.path_of(name), i));
    const std::string type = block.required_text("type");
    if (type != "text") block.refuse_unsupported("type", fmt::format("blocks of type \"{}\" are not read here", type));
    text += block.required_text("text");
  }
  return text;
}

/// Adds a block to the message that is being put together; a tool's result becomes a message before it.
void add_block(const Fields& block, Message& message, std::vector<Message>& list) {
  const std::string type = block.required_text("type");
  if (type == "text") {
    message.content += block.required_text("text");
  } else if (type == "thinking" && message.role == Role::assistant) {
    message.reasoning_content += block.required_text("thinking");
  } else if (type == "redacted_thinking" && message.role == Role::assistant) {
    // Only its sender can read it.
  } else if (type == "tool_use" && message.role == Role::assistant) {
    const std::string name = block.required_text("name");
    const Json* input = block.find("input");
    message.tool_calls.push_back({name, input == nullptr ? "{}" : chat::arguments_from_json(*input, name)});
  } else if (type == "tool_result" && message.role == Role::user) {
    list.push_back({Role::tool, text_of(block, "content")});
  } else {
    block.refuse_unsupported("type", fmt::format("blocks of type \"{}\" are not read here", type), "Send text.");
  }
}

void add_message(const Fields& json, std::vector<Message>& list) {
  const std::string role = json.required_text("role");
  if (role != "user" && role != "assistant" && role != "system") {
    json.refuse("role", fmt::format("is \"{}\", but must be user or assistant", role));
  }
  Message message;
  message.role = role == "user" ? Role::user : role == "assistant" ? Role::assistant : Role::system;
  const Json* content = json.find("content");
  if (content == nullptr) json.refuse("content", "is missing");
  if (content->is_string()) {
    message.content = content->get<std::string>();
    return list.push_back(std::move(message));
  }
  const Json* blocks = json.list("content");
  bool only_results = !blocks->empty();
  for (size_t i = 0; i < blocks->size(); ++i) {
    const Fields block((*blocks)[i], fmt::format("{}[{}]", json.path_of("content"), i));
    add_block(block, message, list);
    only_results = only_results && block.text("type") == "tool_result";
  }
  if (!only_results) list.push_back(std::move(message));
}

std::vector<Tool> read_tools(const Json& list) {
  std::vector<Tool> tools;
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields tool(list[i], fmt::format("tools[{}]", i));
    const std::string type = tool.text("type").value_or("custom");
    if (type != "custom") tool.refuse_unsupported("type", fmt::format("there is no tool \"{}\" here", type));
    Json function = {{"name", tool.required_text("name")}};
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    if (const auto text = tool.text("description")) function["description"] = *text;
    const Json* schema = tool.find("input_schema");
    function["parameters"] = schema != nullptr ? *schema : Json{{"type", "object"}};
    Json outer = {{"type", "function"}};
    outer["function"] = std::move(function);
    tools.push_back({to_text(outer)});
    static_cast<void>(chat::parse_tool(tools.back(), i));  // its errors
  }
  return tools;
}

void read_tool_choice(const Fields& choice, Generation& generation) {
  const std::string type = choice.required_text("type");
  generation.sampling.parallel_tool_calls = !choice.boolean("disable_parallel_tool_use").value_or(false);
  if (type == "none") {
    generation.sampling.tool_choice = ToolChoice::none();
  } else if (type == "any") {
    generation.sampling.tool_choice = ToolChoice::required();
  } else if (type == "tool") {
    generation.sampling.tool_choice = ToolChoice::named(choice.required_text("name"));
  } else if (type != "auto") {
    choice.refuse("type", "must be auto, any, tool or none");
  }
}

/// {"format": {"type": "json_schema", "schema"}}.
void read_output(const Fields& output, SamplingConfig& sampling) {
  const auto format = output.object("format");
  if (!format) return;
  if (format->required_text("type") != "json_schema") format->refuse("type", "must be json_schema");
  const Json* schema = format->find("schema");
  if (schema == nullptr) format->refuse("schema", "is missing");
  sampling.format = ReplyFormat::json_schema(to_text(*schema));
}

void read_thinking(const Fields& thinking, SamplingConfig& sampling) {
  const std::string type = thinking.required_text("type");
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    thinking.refuse("type", "must be enabled, disabled or adaptive");
  }
  set_thinking(sampling, type != "disabled");
  if (const auto budget = thinking.integer("budget_tokens", 1, kMaxInteger)) {
    sampling.max_thinking_tokens = static_cast<int>(*budget);
  }
}

}  // namespace

AnthropicRequest read_anthropic(const Fields& body, const SamplingConfig& defaults, bool counts) {
  AnthropicRequest request;
  Generation& generation = request.generation;
  generation.sampling = defaults;
  static_cast<void>(body.text("model"));
  if (body.has("system")) generation.messages.push_back({Role::system, text_of(body, "system")});
  const Json* messages = body.list("messages");
  if (messages == nullptr || messages->empty()) body.refuse("messages", "is missing or empty");
  for (size_t i = 0; i < messages->size(); ++i) {
    add_message(Fields((*messages)[i], fmt::format("messages[{}]", i)), generation.messages);
  }
  // An assistant's message at the end is the beginning of the reply.
  const Message& last = generation.messages.back();
  generation.sampling.continue_final_message = last.role == Role::assistant && last.tool_calls.empty();
  if (const Json* tools = body.list("tools")) generation.tools = read_tools(*tools);
  if (const auto choice = body.object("tool_choice")) read_tool_choice(*choice, generation);
  if (const auto thinking = body.object("thinking")) {
    read_thinking(*thinking, generation.sampling);
  } else {
    set_thinking(generation.sampling, false);
  }
  read_sampling(body, generation.sampling);
  read_max_tokens(body, "max_tokens", generation.sampling);
  if (!counts && !body.has("max_tokens")) body.refuse("max_tokens", "is missing");
  if (body.has("stop_sequences")) generation.sampling.stop = body.texts("stop_sequences");
  if (const auto output = body.object("output_config")) read_output(*output, generation.sampling);
  for (const char* name : {"mcp_servers", "container", "output_format"}) {
    if (body.has(name)) body.refuse_unsupported(name, "is not offered");
  }
  request.stream = body.boolean("stream").value_or(false);
  check(generation);
  return request;
}

}  // namespace prosa::server
