// The text of a <tool_call> block -> calls (tool_calls.h): the XML form, types by schema, the older JSON form.
// A block is all calls or one error.
#include "chat/tool_calls.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "chat/message_json.h"
#include "chat/python_text.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;
using Calls = std::vector<ToolCall>;
using Result = std::variant<Calls, CallError>;

constexpr std::string_view function_open = "<function=", function_close = "</function>";
constexpr std::string_view parameter_open = "<parameter=", parameter_close = "</parameter>";
constexpr auto npos = std::string_view::npos;

std::string_view skip_space(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == npos ? std::string_view() : text.substr(first);
}

/// "<function=NAME>" or "<parameter=NAME>" at the front of `text`; moves `text` behind it.
std::optional<std::string_view> take_open_tag(std::string_view& text, std::string_view tag) {
  if (!text.starts_with(tag)) return std::nullopt;
  const size_t close = text.find_first_of(">\n", tag.size());
  if (close == npos || text[close] != '>') return std::nullopt;
  const std::string_view name = python_strip(text.substr(tag.size(), close - tag.size()));
  if (name.empty()) return std::nullopt;
  text.remove_prefix(close + 1);
  return name;
}

/// Whether what follows a tag that ends a value can follow it: then the tag is one, else it is part of the value.
bool may_follow_value(std::string_view rest, std::string_view tag) {
  rest = skip_space(rest);
  if (rest.empty()) return true;
  if (tag == function_close) return rest.starts_with(function_open);
  return rest.starts_with(parameter_open) || rest.starts_with(function_close);
}

struct ValueEnd {
  size_t length = npos;  // of the value with its margins; npos: it never ends
  size_t tag = 0;        // of the closing tag, 0 when the value is ended by what comes next
};

/// The value ends at "</parameter>"; when that was forgotten, at the next parameter or the function's end.
ValueEnd find_value_end(std::string_view text) {
  for (size_t at = text.find('<'); at != npos; at = text.find('<', at + 1)) {
    const std::string_view rest = text.substr(at);
    const bool line_start = at == 0 || text[at - 1] == '\n';
    if (rest.starts_with(parameter_close)) {
      if (may_follow_value(rest.substr(parameter_close.size()), parameter_close)) return {at, parameter_close.size()};
    } else if (rest.starts_with(function_close)) {
      if (may_follow_value(rest.substr(function_close.size()), function_close)) return {at, 0};
    } else if (line_start && rest.starts_with(parameter_open)) {
      std::string_view behind = rest;
      if (take_open_tag(behind, parameter_open) && behind.starts_with('\n')) return {at, 0};
    }
  }
  return {};
}

/// The template writes "\nVALUE\n": one line break at each end is not the value's.
std::string_view without_margins(std::string_view value) {
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  return value;
}

// ---- types by schema ----

struct Types {
  bool string = false, integer = false, number = false, boolean = false, object = false, array = false, null = false;
  [[nodiscard]] bool any_but_string() const { return integer || number || boolean || object || array || null; }
};

void add_type_name(const Json& name, Types& types) {
  if (!name.is_string()) return;
  const auto& text = name.get_ref<const std::string&>();
  if (text == "string") types.string = true;
  if (text == "integer") types.integer = true;
  if (text == "number") types.number = true;
  if (text == "boolean") types.boolean = true;
  if (text == "object") types.object = true;
  if (text == "array") types.array = true;
  if (text == "null") types.null = true;
}

void add_type_of(const Json& value, Types& types) {
  if (value.is_string()) types.string = true;
  if (value.is_number_integer()) types.integer = true;
  if (value.is_number_float()) types.number = true;
  if (value.is_boolean()) types.boolean = true;
  if (value.is_object()) types.object = true;
  if (value.is_array()) types.array = true;
  if (value.is_null()) types.null = true;
}

/// Collects all types a schema allows. References may form circles, and any part of a schema may be wide, so only so
/// much is looked at for one value, and only so deep; what lies beyond says nothing about the type.
class TypeSearch {
 public:
  TypeSearch(const Json& root, Types& types) : root_(root), types_(types) {}

  void collect(const Json& schema, int depth = 0) {
    if (!schema.is_object() || depth > kMaxDepth) return;
    for (const auto& [key, value] : schema.items()) {
      if (!spend(1)) return;
      if (key == "type") {
        add_type_name(value, types_);
        each_of(value, [&](const Json& name) { add_type_name(name, types_); });
      } else if (key == "anyOf" || key == "oneOf" || key == "allOf") {
        each_of(value, [&](const Json& option) { collect(option, depth + 1); });
      } else if (key == "enum") {
        each_of(value, [&](const Json& option) { add_type_of(option, types_); });
      } else if (key == "const") {
        add_type_of(value, types_);
      } else if (key == "$ref") {
        if (const Json* target = resolve(value)) collect(*target, depth + 1);
      }
    }
  }

 private:
  static constexpr size_t kMaxSteps = 4096;
  static constexpr int kMaxDepth = 64;

  bool spend(size_t steps) {
    left_ -= std::min(left_, steps);
    return left_ > 0;
  }

  template <typename Visit>
  void each_of(const Json& list, Visit visit) {
    if (!list.is_array()) return;
    for (const Json& element : list) {
      if (!spend(1)) return;
      visit(element);
    }
  }

  /// "#/$defs/unit".
  const Json* resolve(const Json& reference) {
    if (!reference.is_string() || !reference.get_ref<const std::string&>().starts_with("#/")) return nullptr;
    try {
      Json::json_pointer pointer(reference.get_ref<const std::string&>().substr(1));
      std::vector<std::string> names;
      for (; !pointer.empty(); pointer.pop_back()) names.push_back(pointer.back());
      const Json* at = &root_;
      for (auto name = names.rbegin(); at != nullptr && name != names.rend(); ++name) {
        const Json::json_pointer step = Json::json_pointer() / *name;
        at = spend(at->size()) && at->contains(step) ? &at->at(step) : nullptr;  // an object's keys one by one
      }
      return at;
    } catch (const Json::exception&) {
      return nullptr;  // a malformed pointer says nothing about the type
    }
  }

  const Json& root_;
  Types& types_;
  size_t left_ = kMaxSteps;
};

/// `text` as JSON, or as the template prints Python's constants in earlier calls.
std::optional<Json> parse_value(std::string_view text) {
  text = python_strip(text);
  if (text == "True") return Json(true);
  if (text == "False") return Json(false);
  if (text == "None") return Json(nullptr);
  try {
    return parse_json(text, "value");
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool fits(const Json& value, const Types& types) {
  if (value.is_number_integer()) return types.integer || types.number;
  if (value.is_number_float()) return types.number;
  return (value.is_boolean() && types.boolean) || (value.is_object() && types.object) ||
         (value.is_array() && types.array) || (value.is_null() && types.null);
}

Json typed_value(const Json* schema, const Json& root, std::string_view text) {
  Types types;
  if (schema != nullptr) TypeSearch(root, types).collect(*schema);
  if (types.any_but_string()) {
    std::optional<Json> value = parse_value(text);
    if (value && fits(*value, types)) return *std::move(value);
    if (value && value->is_number_float() && types.integer) {  // 3.0
      const double number = value->get<double>();
      const auto whole = static_cast<int64_t>(std::clamp(number, -9e15, 9e15));
      if (static_cast<double>(whole) == number) return whole;
    }
  }
  return std::string(text);
}

// ---- the older form ----

Result parse_json_calls(std::string_view body) {
  const auto error = [&](std::string message) { return CallError{std::move(message), std::string(body)}; };
  try {
    const Json parsed = parse_json(body, "tool call");
    Calls calls;
    const std::span<const Json> entries =
        parsed.is_array() ? std::span(parsed.get_ref<const Json::array_t&>()) : std::span(&parsed, 1);
    for (const Json& entry : entries) {
      const auto name = entry.find("name");
      if (name == entry.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
        return error("the call has no function name");
      }
      auto arguments = entry.find("arguments");
      if (arguments == entry.end()) arguments = entry.find("parameters");
      const auto& called = name->get_ref<const std::string&>();
      static const Json no_arguments;
      calls.push_back({called, arguments_from_json(arguments == entry.end() ? no_arguments : *arguments, called)});
    }
    if (calls.empty()) return error("the block holds no call");
    return calls;
  } catch (const Error& failure) {
    return error(failure.message());
  }
}

}  // namespace

ToolCallParser::ToolCallParser(std::span<const Tool> tools) {
  for (size_t i = 0; i < tools.size(); ++i) {
    Json json = parse_tool(tools[i], i);
    Json& function = json.contains("function") && json["function"].is_object() ? json["function"] : json;
    const auto [place, fresh] = functions_.try_emplace(function.at("name").get<std::string>());
    const auto parameters = function.find("parameters");
    if (!fresh || parameters == function.end()) continue;
    Function& known = place->second;
    known.parameters = std::move(*parameters);
    const auto properties = known.parameters.find("properties");
    if (properties == known.parameters.end() || !properties->is_object()) continue;
    for (const auto& [name, schema] : properties->items()) known.properties.try_emplace(name, known.properties.size());
  }
}

const Json* ToolCallParser::Function::schema_of(std::string_view parameter) const {
  const auto found = properties.find(parameter);
  if (found == properties.end()) return nullptr;
  return &std::next(parameters.at("properties").begin(), static_cast<std::ptrdiff_t>(found->second)).value();
}

Result ToolCallParser::parse(std::string_view body, bool cut_off) const {
  const std::string_view text = python_strip(body);
  const auto error = [&](std::string_view message) { return CallError{std::string(message), std::string(body)}; };
  if (text.empty()) return error("the block holds no call");
  if (text.front() == '{' || text.front() == '[') return parse_json_calls(text);

  Calls calls;
  for (std::string_view rest = text; !rest.empty(); rest = skip_space(rest)) {
    const auto name = take_open_tag(rest, function_open);
    if (!name) return error("expected <function=NAME>");
    const auto function = functions_.find(*name);
    const bool known = function != functions_.end();
    static const Json no_schema;
    const Json& root = known ? function->second.parameters : no_schema;
    Json arguments = Json::object();
    // The object's own functions look at all keys for each; these do not.
    auto& members = static_cast<std::vector<Json::object_t::value_type>&>(arguments.get_ref<Json::object_t&>());
    KeyedMap<size_t> places;
    for (rest = skip_space(rest); rest.starts_with(parameter_open); rest = skip_space(rest)) {
      const auto key = take_open_tag(rest, parameter_open);
      if (!key) return error("expected <parameter=NAME>");
      const ValueEnd end = find_value_end(rest);
      if (end.length == npos) return error(fmt::format("the value of parameter \"{}\" never ends", *key));
      const Json* schema = known ? function->second.schema_of(*key) : nullptr;
      Json value = typed_value(schema, root, without_margins(rest.substr(0, end.length)));
      const auto [place, fresh] = places.try_emplace(std::string(*key), members.size());
      if (fresh) {
        members.emplace_back(*key, std::move(value));
      } else {
        members[place->second].second = std::move(value);
      }
      rest.remove_prefix(end.length + end.tag);
    }
    if (rest.starts_with(function_close)) {
      rest.remove_prefix(function_close.size());
    } else if (cut_off || !rest.empty()) {
      return error("expected <parameter=NAME> or </function>");
    }
    calls.push_back({std::string(*name), to_python_json(arguments)});
  }
  return calls;
}

}  // namespace prosa::chat
