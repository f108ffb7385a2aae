// Messages and tools as JSON and back (message_json.h). Every error names the place in the request it came from.
#include "chat/message_json.h"

#include <fmt/format.h>

#include "base/json.h"
#include "chat/python_text.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void reject(std::string message, std::string where, std::string remedy = {}) {
  throw Error(ErrorCode::invalid_argument, std::move(message), std::move(where), std::move(remedy));
}

const Json* find(const Json& object, const char* key) {
  const auto it = object.find(key);  // end() for anything but an object
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string_view role_name(Role role) noexcept {
  switch (role) {
    case Role::system: return "system";
    case Role::user: return "user";
    case Role::assistant: return "assistant";
    case Role::tool: return "tool";
    case Role::prompt: return "prompt";  // which no list of messages may hold that comes from outside
  }
  return "user";
}

Role role_from_json(const Json& message, const std::string& where) {
  const Json* role = find(message, "role");
  if (role == nullptr || !role->is_string()) reject("the message has no \"role\"", where);
  const auto& name = role->get_ref<const std::string&>();
  if (name == "system" || name == "developer") return Role::system;
  if (name == "user") return Role::user;
  if (name == "assistant") return Role::assistant;
  if (name == "tool") return Role::tool;
  reject(fmt::format("unknown role \"{}\"", name), where, "Use system, user, assistant or tool.");
}

std::string content_from_json(const Json* content, const std::string& where) {
  if (content == nullptr) return {};
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) reject("\"content\" is neither a string nor a list of parts", where);
  std::string text;
  for (const Json& part : *content) {
    const Json* part_text = find(part, "text");
    if (part_text != nullptr && part_text->is_string()) {
      text += part_text->get_ref<const std::string&>();
      continue;
    }
    const Json* type = find(part, "type");
    if (type == nullptr || !type->is_string() || is_text(*type, "text"))
      reject("a content part has no \"text\"", where);
    throw Error(ErrorCode::unsupported,
                fmt::format("content parts of type \"{}\" are not supported", type->get<std::string>()), where,
                "Send text parts only.");
  }
  return text;
}

std::string arguments_of(const std::string& name) { return fmt::format("arguments of the call to \"{}\"", name); }

void require_object(const Json& arguments, const std::string& name) {
  if (arguments.is_object()) return;
  reject("the arguments are not a JSON object", arguments_of(name), "Write {\"name\": value, …}.");
}

ToolCall call_from_json(const Json& json, const std::string& where) {
  const Json* inner = find(json, "function");
  const Json& function = inner != nullptr ? *inner : json;
  const Json* name = find(function, "name");
  if (name == nullptr || !name->is_string()) reject("the tool call has no function name", where);
  const Json* arguments = find(function, "arguments");
  const auto& called = name->get_ref<const std::string&>();
  return {called, arguments == nullptr ? "{}" : arguments_from_json(*arguments, called)};
}

}  // namespace

Json parse_json(std::string_view text, std::string_view what) {
  constexpr JsonLimits kLimits{.max_bytes = kMaxJsonBytes, .max_entries = kMaxJsonEntries, .max_depth = kMaxJsonDepth};
  return parse_ordered_json(text, {std::string(what)}, kLimits);
}

Json parse_tool_arguments(const ToolCall& call) {
  if (python_strip(call.arguments).empty()) return Json::object();
  Json arguments = parse_json(call.arguments, arguments_of(call.name));
  if (arguments.is_null()) return Json::object();
  require_object(arguments, call.name);
  return arguments;
}

std::string arguments_from_json(const Json& arguments, const std::string& name) {
  if (arguments.is_null()) return "{}";
  if (arguments.is_string()) return to_python_json(parse_tool_arguments({name, arguments.get<std::string>()}));
  require_object(arguments, name);
  return to_python_json(arguments);
}

Json parse_tool(const Tool& tool, size_t index) {
  const std::string where = fmt::format("tools[{}]", index);
  Json json = parse_json(tool.json, where);
  const Json* inner = find(json, "function");
  const Json& function = inner != nullptr ? *inner : json;
  const Json* name = find(function, "name");
  if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    reject("the tool has no function name", where,
           R"(Write {"type": "function", "function": {"name": …, "parameters": …}}.)");
  }
  return json;
}

namespace {

void add_message(const Message& message, Json& json) {
  // No initializer lists and no growth: both make copies whose destruction needs memory (dismantle()).
  constexpr size_t kMostKeys = 4;
  json.get_ref<Json::object_t&>().reserve(kMostKeys);
  json["role"] = std::string(role_name(message.role));
  json["content"] = message.content;
  if (!message.reasoning_content.empty()) json["reasoning_content"] = message.reasoning_content;
  if (message.tool_calls.empty()) return;
  Json& calls = json["tool_calls"] = Json::array();
  calls.get_ref<Json::array_t&>().reserve(message.tool_calls.size());
  for (const ToolCall& call : message.tool_calls) {
    Json entry = Json::object();
    const JsonGuard guard(entry);
    entry.get_ref<Json::object_t&>().reserve(kMostKeys);
    entry["type"] = "function";
    Json& function = entry["function"] = Json::object();
    function.get_ref<Json::object_t&>().reserve(kMostKeys);
    function["name"] = call.name;
    function["arguments"] = parse_tool_arguments(call);
    calls.push_back(std::move(entry));
  }
}

}  // namespace

Json to_json(const Message& message) {
  Json json = Json::object();
  try {
    add_message(message, json);
  } catch (...) {
    dismantle(json);
    throw;
  }
  return json;
}

Json to_json(std::span<const Message> messages) {
  Json json = Json::array();
  json.get_ref<Json::array_t&>().reserve(messages.size());
  try {
    for (const Message& message : messages) json.push_back(to_json(message));
  } catch (...) {
    dismantle(json);
    throw;
  }
  return json;
}

Json variable_from_text(const std::string& text) {
  if (!Json::accept(text)) return text;
  return parse_json(text, "template_variables");
}

Json to_json(std::span<const Tool> tools) {
  if (tools.empty()) return nullptr;
  Json json = Json::array();
  json.get_ref<Json::array_t&>().reserve(tools.size());
  for (size_t i = 0; i < tools.size(); ++i) json.push_back(parse_tool(tools[i], i));
  return json;
}

std::vector<Message> messages_from_json(const Json& messages) {
  if (!messages.is_array()) reject("\"messages\" is not a list", "messages");
  std::vector<Message> list;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& json = messages[i];
    const std::string where = fmt::format("messages[{}]", i);
    if (!json.is_object()) reject("the message is not an object", where);
    Message message{role_from_json(json, where), content_from_json(find(json, "content"), where)};
    if (const Json* reasoning = find(json, "reasoning_content")) {
      if (!reasoning->is_string()) reject("\"reasoning_content\" is not a string", where);
      message.reasoning_content = reasoning->get<std::string>();
    }
    if (const Json* calls = find(json, "tool_calls")) {
      if (!calls->is_array()) reject("\"tool_calls\" is not a list", where);
      for (const Json& call : *calls) message.tool_calls.push_back(call_from_json(call, where));
    }
    list.push_back(std::move(message));
  }
  return list;
}

std::vector<Tool> tools_from_json(const Json& tools) {
  std::vector<Tool> list;
  if (tools.is_null()) return list;
  if (!tools.is_array()) reject("\"tools\" is not a list", "tools");
  for (size_t i = 0; i < tools.size(); ++i) {
    list.push_back(Tool{to_python_json(tools[i])});
    parse_tool(list.back(), i);
  }
  return list;
}

}  // namespace prosa::chat
