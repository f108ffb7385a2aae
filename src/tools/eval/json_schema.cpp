// Recursion is bounded: schemas and values were read with a limit on depth (base/json.h). Time is linear in the value,
// whatever the schema: its lists are short, and its properties are found by hash.
#include "tools/eval/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/keyed_hash.h"
#include "prosa/error.h"

namespace prosa::eval {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::string_view, 7> kTypes = {"object",  "array",   "string", "number",
                                                    "integer", "boolean", "null"};

constexpr size_t kMaxEnum = 4096;  // every value may be compared with all of them

[[noreturn]] void refuse(const std::string& where, std::string what) {
  throw Error(ErrorCode::invalid_argument, "schema: " + std::move(what), where);
}

bool is_type(const ordered_json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (!value.is_number()) return false;
  return type == "number" || value.is_number_integer() || std::trunc(value.get<double>()) == value.get<double>();
}

void check_type(const ordered_json& type, const std::string& where) {
  const auto known = [](const ordered_json& name) {
    return name.is_string() && std::ranges::count(kTypes, name.get_ref<const std::string&>()) == 1;
  };
  if (known(type)) return;
  if (!type.is_array() || type.empty() || !std::ranges::all_of(type, known)) refuse(where, "unknown type");
  if (type.size() > kTypes.size())
    refuse(where, fmt::format("{} types, of which there are {}", type.size(), kTypes.size()));
}

/// What is wrong, and where in the value. The place is put together only when something is, from the inside out.
struct Problem {
  std::string what;
  std::string path = {};  // "a.b[2].c"; empty: the value itself

  Problem inside(std::string name) && {
    if (!path.empty() && path.front() != '[') name += '.';
    return {std::move(what), std::move(name) + path};
  }
};

class Checker {
 public:
  std::optional<Problem> check(const ordered_json& value, const ordered_json& schema) {
    if (const auto type = schema.find("type"); type != schema.end()) {
      const auto fits = [&](const ordered_json& name) { return is_type(value, name.get_ref<const std::string&>()); };
      if (type->is_string() ? !fits(*type) : std::ranges::none_of(*type, fits)) {
        return Problem{"not of type " + type->dump()};
      }
    }
    if (const auto values = schema.find("enum"); values != schema.end() && std::ranges::count(*values, value) == 0) {
      return Problem{"none of the values allowed"};
    }
    if (const auto only = schema.find("const"); only != schema.end() && *only != value) {
      return Problem{"not " + only->dump()};
    }
    if (value.is_object()) return check_object(value, schema);
    const auto items = schema.find("items");
    if (!value.is_array() || items == schema.end()) return std::nullopt;
    for (size_t i = 0; i < value.size(); ++i) {
      if (auto problem = check(value[i], *items)) return std::move(*problem).inside(fmt::format("[{}]", i));
    }
    return std::nullopt;
  }

 private:
  std::optional<Problem> check_object(const ordered_json& value, const ordered_json& schema) {
    if (const auto required = schema.find("required"); required != schema.end() && !required->empty()) {
      KeyedSet there;
      for (const auto& [name, child] : value.items()) there.insert(name);
      for (const ordered_json& name : *required) {
        const auto& text = name.get_ref<const std::string&>();
        if (!there.contains(text)) return Problem{"missing", text};
      }
    }
    const auto properties = schema.find("properties");
    const bool others = schema.value("additionalProperties", true);
    for (const auto& [name, child] : value.items()) {
      const ordered_json* known = properties == schema.end() ? nullptr : property(*properties, name);
      if (known == nullptr && !others) return Problem{"not asked for", name};
      if (known == nullptr) continue;
      if (auto problem = check(child, *known)) return std::move(*problem).inside(name);
    }
    return std::nullopt;
  }

  /// Null when there is none of that name.
  const ordered_json* property(const ordered_json& properties, std::string_view name) {
    const auto [place, fresh] = properties_.try_emplace(&properties);
    KeyedMap<const ordered_json*>& index = place->second;
    if (fresh) {
      for (const auto& [each, schema] : properties.items()) index.emplace(each, &schema);
    }
    const auto found = index.find(name);
    return found == index.end() ? nullptr : found->second;
  }

  std::map<const ordered_json*, KeyedMap<const ordered_json*>> properties_;  // of the schemas met
};

}  // namespace

void check_schema(const ordered_json& schema, const std::string& where) {
  if (!schema.is_object()) refuse(where, "not an object");
  for (const auto& [keyword, value] : schema.items()) {
    if (keyword == "type") {
      check_type(value, where);
    } else if (keyword == "properties") {
      if (!value.is_object()) refuse(where, "properties is no object");
      for (const auto& [name, child] : value.items()) check_schema(child, where);
    } else if (keyword == "required") {
      const auto text = [](const ordered_json& name) { return name.is_string(); };
      if (!value.is_array() || !std::ranges::all_of(value, text)) refuse(where, "required is no list of names");
    } else if (keyword == "additionalProperties") {
      if (!value.is_boolean()) refuse(where, "additionalProperties is neither true nor false");
    } else if (keyword == "items") {
      check_schema(value, where);
    } else if (keyword == "enum") {
      if (!value.is_array() || value.empty()) refuse(where, "enum is no list");
      if (value.size() > kMaxEnum)
        refuse(where, fmt::format("enum has {} values, at most {} are compared", value.size(), kMaxEnum));
    } else if (keyword != "const" && keyword != "title" && keyword != "description") {
      throw Error(ErrorCode::unsupported, fmt::format("schema: the keyword '{}' is not known", keyword), where,
                  "use type, properties, required, additionalProperties, items, enum and const");
    }
  }
}

std::string schema_violation(const ordered_json& value, const ordered_json& schema) {
  const std::optional<Problem> problem = Checker().check(value, schema);
  if (!problem) return {};
  return (problem->path.empty() ? "the value" : problem->path) + ": " + problem->what;
}

}  // namespace prosa::eval
