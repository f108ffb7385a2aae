// Each parameter is read by itself, so that what cannot be honoured in one leaves the others as they are.
#include "grammar/function_calls.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "grammar/json_schema.h"
#include "grammar/schema_reader.h"
#include "prosa/error.h"

namespace prosa::grammar {

using Json = nlohmann::ordered_json;

namespace {

constexpr int kMaxFreeName = 64;  // of a parameter that the schema does not name

/// A name stands in a tag as it is, so that white space around it would be lost, and some characters would end it.
bool can_be_written(const std::string& name) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  return !name.empty() && name.find_first_of(">\n<") == std::string::npos && !is_space(name.front()) &&
         !is_space(name.back());
}

/// Keywords that say something about a type beside its name, but for strings.
bool says_more_than_types(const Json& alternative) {
  static const std::set<std::string, std::less<>> kHarmless = {"type", "minLength", "maxLength", "pattern", "format"};
  return std::ranges::any_of(alternative.items(), [](const auto& item) { return !kHarmless.contains(item.key()); });
}

/// How whoever reads the tags takes a text for a parameter that may be something else than a string, too.
bool reads_as_json(const std::string& text) {
  return Json::accept(text) || text == "True" || text == "False" || text == "None";
}

class CallReader {
 public:
  CallReader(CallForm form, bool strict, std::vector<std::string>& left_free)
      : form_(form), strict_(strict), left_free_(left_free) {}

  Rules read(const Function& function) {
    Rules all = tag_rules().rules;
    if (form_ == CallForm::json) {
      const std::string name = Json(function.name).dump();
      const uint32_t arguments =
          append(all, attempt([&] { return arguments_object(function); }, [] { return any_json(true); }));
      all.parts[0] = sequence({literal("\n{\"name\": " + name + ", \"arguments\": "), rule(arguments), literal("}\n")});
      return all;
    }
    const uint32_t parameters =
        add(all, attempt([&] { return tagged_object(function); }, [] { return any_parameters(); }));
    all.parts[0] =
        sequence({literal("\n<function=" + function.name + ">\n"), rule(parameters), literal("</function>\n")});
    return all;
  }

 private:
  /// `read`, or `otherwise` where that cannot be honoured and need not be.
  Rules attempt(const std::function<Rules()>& read, const std::function<Rules()>& otherwise) {
    if (strict_) return read();
    try {
      return read();
    } catch (const Error& error) {
      left_free_.push_back(fmt::format("{}: {}", error.where(), error.message()));
      return otherwise();
    }
  }

  static Rules arguments_object(const Function& function) {
    Json schema = function.parameters;
    if (!schema.is_object()) wrong_keyword(function.where, "is not an object");
    if (!schema.contains("type")) schema["type"] = "object";
    return read_json_schema(schema, function.where);
  }

  /// All parameters, one after the other.
  Rules tagged_object(const Function& function) {
    const Json& root = function.parameters;
    if (root.is_null()) return tag_rules().rules;
    if (!root.is_object()) wrong_keyword(function.where, "is not an object");
    const Schemas schemas(root, function.where);
    Rules all = tag_rules().rules;
    std::vector<Part> choices;
    for (const Json& alternative : schemas.alternatives(root, function.where)) {
      const Json simple = alternative.is_boolean() ? Json::object() : alternative;
      if (simple.contains("enum")) refuse_keyword(function.where + "/enum", "a list of values for all arguments");
      const auto types = types_of(simple);
      if (std::ranges::find(types, "object") != types.end())
        choices.push_back(parameters_of(simple, root, function.where, all));
    }
    all.parts[0] = choice(std::move(choices));
    return all;
  }

  Part parameters_of(const Json& simple, const Json& root, const std::string& path, Rules& all) {
    std::set<std::string> missing;  // required and not named
    if (const auto required = simple.find("required"); required != simple.end()) {
      if (!required->is_array()) wrong_keyword(path + "/required", "is not a list");
      for (const Json& name : *required) {
        if (!name.is_string()) wrong_keyword(path + "/required", "holds something else than names");
        missing.insert(name.get<std::string>());
      }
    }
    const auto more = simple.find("additionalProperties");
    const Json others = more == simple.end() ? Json(true) : *more;
    std::vector<Part> parameters;
    std::vector<bool> required;
    const auto add_parameter = [&](const std::string& name, const Json& schema, const std::string& where, bool needed) {
      if (!can_be_written(name)) refuse_keyword(where, "a parameter of this name");
      const uint32_t value = add(all, attempt([&] { return tagged_value(schema, root, where); },
                                              [&] { return tagged_value(true, root, where); }));
      parameters.push_back(sequence({literal("<parameter=" + name + ">\n"), rule(value), literal("\n")}));
      required.push_back(needed);
    };
    const auto properties = simple.find("properties");
    if (properties != simple.end()) {
      if (!properties->is_object()) wrong_keyword(path + "/properties", "is not an object");
      for (const auto& [name, schema] : properties->items())
        add_parameter(name, schema, path + "/properties/" + name, missing.erase(name) > 0);
    }
    for (const std::string& name : missing) add_parameter(name, others, path + "/additionalProperties", true);
    // Others are written where none is named: beside names they would be a way to write the same twice.
    const bool wants_others = more != simple.end() || properties == simple.end();
    if (parameters.empty() && wants_others && others != Json(false)) {
      const uint32_t value = add(all, attempt([&] { return tagged_value(others, root, path); },
                                              [&] { return tagged_value(true, root, path); }));
      return repeat(free_parameter(value), 0, {});
    }
    return list(Part{}, std::move(parameters), std::move(required));
  }

  static Part free_parameter(uint32_t value) {
    const CharSet letters = {{'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const CharSet more = {{'-', '.'}, {'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    return sequence({literal("<parameter="), one_of(letters), repeat(one_of(more), 0, kMaxFreeName - 1), literal(">\n"),
                     rule(value), literal("\n")});
  }

  static Rules any_parameters() {
    Rules all = tag_rules().rules;
    const Json nothing = true;
    const uint32_t value = add(all, tagged_value(nothing, nothing, "parameters"));
    all.parts[0] = repeat(free_parameter(value), 0, {});
    return all;
  }

  /// As append(), of rules that begin with tag_rules().
  static uint32_t add(Rules& all, Rules more) { return append(all, std::move(more), tag_rules().shared); }

  /// A value with its end tag.
  static Rules tagged_value(const Json& schema, const Json& root, const std::string& where) {
    SchemaReader reader(root, where, StringForm::json_in_tags);
    const Json* at = &schema;
    std::string path = where;
    for (int depth = 0; const Json* next = reader.schemas().pure_reference(*at, path); ++depth) {
      constexpr int kMaxReferences = 24;
      if (depth == kMaxReferences) refuse_keyword(path, "references that lead nowhere");
      at = next;
      path += "/$ref";
    }
    std::vector<Json> alternatives = reader.schemas().alternatives(*at, path);
    bool strings = false;
    bool others = false;
    bool bounded = false;  // others, by more than their type
    for (Json& each : alternatives) {
      if (each.is_boolean()) each = Json::object();
      for (const std::string_view type : types_of(each)) {
        strings |= type == "string";
        others |= type != "string";
        bounded |= type != "string" && says_more_than_types(each);
      }
    }
    const bool mixed = strings && others;
    const Part end = literal("\n</parameter>");
    std::vector<Part> choices;
    for (const Json& each : alternatives) {
      if (each.contains("enum")) {
        for (const Json& value : each["enum"]) {
          if (!value.is_string()) {
            choices.push_back(sequence({reader.value_part(value, path), end}));
          } else if (!mixed || !reads_as_json(value.get<std::string>())) {
            choices.push_back(sequence({raw_text(value.get<std::string>(), path), end}));
          }
        }
        continue;
      }
      for (const std::string_view type : types_of(each)) {
        if (type != "string") {
          choices.push_back(sequence({reader.typed_part(type, each, path), end}));
        } else if (!mixed || !bounded) {
          choices.push_back(reader.string_part(each, path, StringForm::tagged));
        } else if (says_more_about_strings(each)) {
          refuse_keyword(path, "a string with bounds beside other types with bounds");
        } else {
          choices.push_back(reader.tagged_text(false));
        }
      }
    }
    return reader.finish(choice(std::move(choices)));
  }

  static bool says_more_about_strings(const Json& alternative) {
    return std::ranges::any_of(std::array{"minLength", "maxLength", "pattern", "format"},
                               [&](const char* name) { return alternative.contains(name); });
  }

  /// A text that stands between tags as it is.
  static Part raw_text(const std::string& text, const std::string& path) {
    for (const char* tag : {"</parameter>", "</function>", "<parameter="}) {
      if (text.find(tag) != std::string::npos) refuse_keyword(path, "a text with a tag of tool calls in it");
    }
    return literal(text);
  }

  const CallForm form_;
  const bool strict_;
  std::vector<std::string>& left_free_;
};

}  // namespace

CallRules read_function_calls(std::span<const Function> functions, CallForm form) {
  CallRules calls{tag_rules().rules, {}};
  std::vector<Part> choices;
  std::set<std::string_view> seen;
  for (const Function& function : functions) {
    if (!seen.insert(function.name).second) continue;
    if (form == CallForm::tagged && !can_be_written(function.name)) {
      if (function.strict) refuse_keyword(function.where, fmt::format("a function named '{}'", function.name));
      calls.left_free.push_back(
          fmt::format("{}: a function named '{}' cannot be called", function.where, function.name));
      continue;
    }
    CallReader reader(form, function.strict, calls.left_free);
    choices.push_back(rule(append(calls.rules, reader.read(function), tag_rules().shared)));
  }
  if (choices.empty()) refuse_keyword("tools", "a call where there is nothing to call");
  calls.rules.parts[0] = choice(std::move(choices));
  return calls;
}

}  // namespace prosa::grammar
