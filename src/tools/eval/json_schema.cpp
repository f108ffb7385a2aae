// Recursion is bounded: schemas and values were read with a limit on depth (base/json.h).
#include "tools/eval/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::eval {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::string_view, 7> kTypes = {"object",  "array",   "string", "number",
                                                    "integer", "boolean", "null"};

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
}

std::string inside(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

std::string object_violation(const ordered_json& value, const ordered_json& schema, const std::string& path) {
  if (const auto required = schema.find("required"); required != schema.end()) {
    for (const ordered_json& name : *required) {
      if (!value.contains(name.get<std::string>())) return inside(path, name.get<std::string>()) + ": missing";
    }
  }
  const auto properties = schema.find("properties");
  const bool others = schema.value("additionalProperties", true);
  for (const auto& [name, child] : value.items()) {
    if (properties != schema.end() && properties->contains(name)) {
      const std::string problem = schema_violation(child, (*properties)[name], inside(path, name));
      if (!problem.empty()) return problem;
    } else if (!others) {
      return inside(path, name) + ": not asked for";
    }
  }
  return {};
}

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
    } else if (keyword != "const" && keyword != "title" && keyword != "description") {
      throw Error(ErrorCode::unsupported, fmt::format("schema: the keyword '{}' is not known", keyword), where,
                  "use type, properties, required, additionalProperties, items, enum and const");
    }
  }
}

std::string schema_violation(const ordered_json& value, const ordered_json& schema, const std::string& path) {
  const std::string place = path.empty() ? "the value" : path;
  if (const auto type = schema.find("type"); type != schema.end()) {
    const auto fits = [&](const ordered_json& name) { return is_type(value, name.get_ref<const std::string&>()); };
    if (type->is_string() ? !fits(*type) : std::ranges::none_of(*type, fits)) {
      return fmt::format("{}: not of type {}", place, type->dump());
    }
  }
  if (const auto values = schema.find("enum"); values != schema.end() && std::ranges::count(*values, value) == 0) {
    return place + ": none of the values allowed";
  }
  if (const auto only = schema.find("const"); only != schema.end() && *only != value) {
    return fmt::format("{}: not {}", place, only->dump());
  }
  if (value.is_object()) return object_violation(value, schema, path);
  const auto items = schema.find("items");
  if (!value.is_array() || items == schema.end()) return {};
  for (size_t i = 0; i < value.size(); ++i) {
    std::string problem = schema_violation(value[i], *items, fmt::format("{}[{}]", path, i));
    if (!problem.empty()) return problem;
  }
  return {};
}

}  // namespace prosa::eval
