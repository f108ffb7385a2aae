// Alternatives are built from the keywords of the schema itself, then multiplied by those of each combination.
#include "grammar/json_merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <span>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::grammar {

using Json = nlohmann::ordered_json;

void refuse_keyword(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::unsupported, what + " cannot be honoured", path, "write the schema without");
}
void wrong_keyword(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what, path);
}

namespace {

constexpr size_t kMaxAlternatives = 1000;
constexpr int kMaxCombined = 24;  // of combinations and references inside each other
constexpr int kMaxLook = 4;       // into properties, for oneOf

constexpr std::array<std::string_view, 6> kTypes = {"null", "boolean", "number", "string", "array", "object"};
constexpr std::array<std::string_view, 12> kAnnotations = {"title",     "description", "default",     "examples",
                                                           "$schema",   "$comment",    "deprecated",  "readOnly",
                                                           "writeOnly", "$defs",       "definitions", "$id"};
constexpr std::array<std::string_view, 4> kCombinations = {"$ref", "anyOf", "oneOf", "allOf"};
constexpr std::array<std::string_view, 21> kKeywords = {"type",
                                                        "enum",
                                                        "const",
                                                        "properties",
                                                        "required",
                                                        "additionalProperties",
                                                        "items",
                                                        "prefixItems",
                                                        "minItems",
                                                        "maxItems",
                                                        "uniqueItems",
                                                        "minLength",
                                                        "maxLength",
                                                        "pattern",
                                                        "format",
                                                        "minimum",
                                                        "maximum",
                                                        "exclusiveMinimum",
                                                        "exclusiveMaximum",
                                                        "minProperties",
                                                        "patternProperties"};

bool is_one_of(std::string_view name, std::span<const std::string_view> list) {
  return std::ranges::find(list, name) != list.end();
}

std::string_view type_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_string()) return "string";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  const double number = value.get<double>();
  return std::floor(number) == number ? "integer" : "number";
}

bool has_type(std::string_view type, std::span<const std::string_view> types) {
  return is_one_of(type, types) || (type == "integer" && is_one_of("number", types));
}

/// The types that a keyword speaks of; empty: of all.
std::string_view speaks_of(std::string_view keyword) {
  if (is_one_of(keyword, std::array<std::string_view, 4>{"minLength", "maxLength", "pattern", "format"}))
    return "string";
  if (is_one_of(keyword,
                std::array<std::string_view, 5>{"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}))
    return "array";
  if (is_one_of(keyword, std::array<std::string_view, 5>{"properties", "required", "additionalProperties",
                                                         "minProperties", "patternProperties"}))
    return "object";
  if (keyword.ends_with("inimum") || keyword.ends_with("aximum")) return "number";
  return "";
}

void check_type(const Json& type, const std::string& path) {
  const auto known = [&](const Json& name) {
    return name.is_string() && (is_one_of(name.get<std::string>(), kTypes) || name == "integer");
  };
  const bool good = type.is_array() ? !type.empty() && std::ranges::all_of(type, known) : known(type);
  if (!good) wrong_keyword(path + "/type", "is no type, nor a list of types");
}

/// What the keywords of the schema itself say.
Json own_keywords(const Json& schema, const std::string& path, bool is_root) {
  Json own = Json::object();
  for (const auto& [name, value] : schema.items()) {
    const std::string where = path + "/" + name;
    if (name == "$id" && !is_root) refuse_keyword(where, "another base for references");
    if (is_one_of(name, kAnnotations) || is_one_of(name, kCombinations) || name.starts_with("x-")) continue;
    if (!is_one_of(name, kKeywords)) refuse_keyword(where, fmt::format("'{}'", name));
    if (name == "type") check_type(value, path);
    if (name == "uniqueItems" || name == "patternProperties") {
      if (!value.empty() && value != Json(false)) refuse_keyword(where, fmt::format("'{}'", name));
      continue;
    }
    if (name == "enum" && !value.is_array()) wrong_keyword(where, "is not a list");
    if (name == "const") {
      own["enum"] = own.contains("enum") && std::ranges::find(own["enum"], value) == own["enum"].end()
                        ? Json::array()
                        : Json::array({value});
      continue;
    }
    if (name == "enum" && own.contains("enum")) {  // const stood in front of it
      if (std::ranges::find(value, own["enum"][0]) == value.end()) own["enum"] = Json::array();
      continue;
    }
    own[name] = value;
  }
  return own;
}

Json both_of(const Json& a, const Json& b) {
  if (a == Json(true) || a == b) return b;
  if (b == Json(true)) return a;
  if (a == Json(false) || b == Json(false)) return false;
  return Json{{"allOf", {a, b}}};
}

Json value_or(const Json& schema, const char* name, Json otherwise) {
  const auto found = schema.find(name);
  return found == schema.end() ? std::move(otherwise) : *found;
}

void merge_objects(const Json& a, const Json& b, Json& all) {
  if (a.contains("required") && b.contains("required")) {
    all["required"] = a["required"];
    for (const Json& name : b["required"]) {
      if (std::ranges::find(a["required"], name) == a["required"].end()) all["required"].push_back(name);
    }
  }
  const Json a_more = value_or(a, "additionalProperties", true);
  const Json b_more = value_or(b, "additionalProperties", true);
  const Json a_named = value_or(a, "properties", Json::object());
  const Json b_named = value_or(b, "properties", Json::object());
  if (!a_named.is_object() || !b_named.is_object()) return;  // said where the object is read
  Json named = Json::object();
  for (const auto& [name, value] : a_named.items())
    named[name] = both_of(value, value_or(b_named, name.c_str(), b_more));
  for (const auto& [name, value] : b_named.items()) {
    if (!a_named.contains(name)) named[name] = both_of(a_more, value);
  }
  if (!named.empty()) all["properties"] = std::move(named);
  const Json more = both_of(a_more, b_more);
  if (more != Json(true)) all["additionalProperties"] = more;
}

void merge_arrays(const Json& a, const Json& b, Json& all) {
  const Json a_items = value_or(a, "items", true);
  const Json b_items = value_or(b, "items", true);
  const Json a_first = value_or(a, "prefixItems", Json::array());
  const Json b_first = value_or(b, "prefixItems", Json::array());
  if (!a_first.is_array() || !b_first.is_array()) return;  // said where the list is read
  Json first = Json::array();
  for (size_t i = 0; i < std::max(a_first.size(), b_first.size()); ++i)
    first.push_back(both_of(i < a_first.size() ? a_first[i] : a_items, i < b_first.size() ? b_first[i] : b_items));
  if (!first.empty()) all["prefixItems"] = std::move(first);
  const Json items = both_of(a_items, b_items);
  if (items != Json(true)) all["items"] = items;
}

/// What satisfies both; false where nothing can.
Json merge(const Json& a, const Json& b, const std::string& path) {
  if (a == Json(false) || b == Json(false)) return false;
  if (a == Json(true)) return b;
  if (b == Json(true)) return a;
  Json all = a;
  for (const auto& [name, value] : b.items()) {
    if (!all.contains(name)) {
      all[name] = value;
      continue;
    }
    Json& mine = all[name];
    if (mine == value) continue;
    if (name == "type") {
      const std::vector<std::string_view> a_types = types_of(a);
      const std::vector<std::string_view> b_types = types_of(b);
      Json types = Json::array();
      for (const std::string_view type : a_types) {
        if (has_type(type, b_types)) types.push_back(type);
      }
      for (const std::string_view type : b_types) {
        if (has_type(type, a_types) && !is_one_of(type, a_types)) types.push_back(type);
      }
      if (types.empty()) return false;
      mine = std::move(types);
    } else if (name == "enum") {
      Json values = Json::array();
      for (const Json& each : mine) {
        if (std::ranges::find(value, each) != value.end()) values.push_back(each);
      }
      mine = std::move(values);
    } else if (name.starts_with("min") || name == "exclusiveMinimum") {
      if (value > mine) mine = value;
    } else if (name.starts_with("max") || name == "exclusiveMaximum") {
      if (value < mine) mine = value;
    } else if (name == "pattern" || name == "format") {
      refuse_keyword(path + "/" + name, "two that have to hold together");
    }
  }
  merge_objects(a, b, all);
  merge_arrays(a, b, all);
  return all;
}

/// Keeps the values of an enum that the types allow. Other keywords must not speak of what is left.
Json settled(Json schema, const std::string& path) {
  if (!schema.is_object()) return schema;
  if (schema.contains("minProperties")) {
    const size_t required = schema.contains("required") ? schema["required"].size() : 0;
    if (!schema["minProperties"].is_number() || schema["minProperties"].get<double>() > static_cast<double>(required))
      refuse_keyword(path + "/minProperties", "more properties than are required");
  }
  if (!schema.contains("enum")) return schema;
  const std::vector<std::string_view> types = types_of(schema);
  Json values = Json::array();
  for (const Json& value : schema["enum"]) {
    if (has_type(type_of(value), types)) values.push_back(value);
  }
  for (const auto& [name, ignored] : schema.items()) {
    const std::string_view of = speaks_of(name);
    const auto spoken_of = [of](const Json& value) { return has_type(type_of(value), std::array{of}); };
    if (!of.empty() && std::ranges::any_of(values, spoken_of))
      refuse_keyword(path + "/" + name, fmt::format("'{}' beside a list of values", name));
  }
  if (values.empty()) return false;
  return Json{{"enum", std::move(values)}};
}

}  // namespace

std::vector<std::string_view> types_of(const Json& schema) {
  if (schema.contains("enum") && !schema.contains("type")) {
    std::vector<std::string_view> types;
    for (const Json& value : schema["enum"]) {
      if (!is_one_of(type_of(value), types)) types.push_back(type_of(value));
    }
    return types;
  }
  const auto found = schema.find("type");
  if (found == schema.end()) return {kTypes.begin(), kTypes.end()};
  std::vector<std::string_view> types;
  for (const std::string_view type : {"null", "boolean", "number", "integer", "string", "array", "object"}) {
    const bool named = found->is_array() ? std::ranges::find(*found, Json(type)) != found->end() : *found == Json(type);
    if (named && !(type == "integer" && is_one_of("number", types))) types.push_back(type);
  }
  return types;
}

const Json& Schemas::referred(const Json& reference, const std::string& path) const {
  if (!reference.is_string()) wrong_keyword(path + "/$ref", "is not a string");
  const std::string text = reference.get<std::string>();
  if (text == "#") return root_;
  if (!text.starts_with("#/")) refuse_keyword(path + "/$ref", "a reference to anything but '#/…' of this document");
  std::string pointer;
  for (size_t i = 1; i < text.size(); ++i) {
    const auto hex = [&](size_t at) {
      return at < text.size() ? std::string("0123456789abcdef").find(static_cast<char>(text[at] | 0x20))
                              : std::string::npos;
    };
    if (text[i] == '%' && hex(i + 1) != std::string::npos && hex(i + 2) != std::string::npos) {
      pointer += static_cast<char>(hex(i + 1) * 16 + hex(i + 2));
      i += 2;
    } else {
      pointer += text[i];
    }
  }
  try {
    return root_.at(Json::json_pointer(pointer));
  } catch (const nlohmann::json::exception&) {
    wrong_keyword(path + "/$ref", fmt::format("there is nothing at '{}'", text));
  }
}

const Json* Schemas::pure_reference(const Json& schema, const std::string& path) const {
  if (!schema.is_object() || !schema.contains("$ref")) return nullptr;
  for (const auto& [name, value] : schema.items()) {
    if (name != "$ref" && !is_one_of(name, kAnnotations)) return nullptr;
  }
  return &referred(schema["$ref"], path);
}

std::vector<Json> Schemas::alternatives(const Json& schema, const std::string& path) const {
  std::vector<Json> settled_ones;
  std::vector<Json> all = expand(schema, path, 0);
  for (Json& each : all) {
    Json one = settled(std::move(each), path);
    if (one != Json(false)) settled_ones.push_back(std::move(one));
  }
  return settled_ones;
}

std::vector<Json> Schemas::expand(const Json& schema, const std::string& path, int depth) const {
  if (schema.is_boolean()) return {schema};
  if (!schema.is_object()) wrong_keyword(path, "is neither an object nor true or false");
  if (depth > kMaxCombined) refuse_keyword(path, "combinations this deep, or one that is a part of itself,");
  std::vector<Json> all = {own_keywords(schema, path, &schema == &root_)};
  const auto multiply = [&](const std::vector<std::vector<Json>>& branches, const std::string& where, bool exclusive) {
    std::vector<std::vector<Json>> merged(branches.size());
    size_t count = 0;
    for (size_t i = 0; i < branches.size(); ++i) {
      for (const Json& mine : all) {
        for (const Json& theirs : branches[i]) {
          Json one = merge(mine, theirs, where);
          if (one != Json(false)) merged[i].push_back(std::move(one));
          if (++count > kMaxAlternatives)
            refuse_keyword(where, fmt::format("more than {} alternatives", kMaxAlternatives));
        }
      }
    }
    for (size_t i = 0; exclusive && i < merged.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        for (const Json& a : merged[i]) {
          for (const Json& b : merged[j]) {
            if (!disjoint(a, b, where, depth))
              refuse_keyword(where, fmt::format("branches {} and {}, which may hold together,", j, i));
          }
        }
      }
    }
    all.clear();
    for (std::vector<Json>& branch : merged) std::ranges::move(branch, std::back_inserter(all));
  };
  if (schema.contains("$ref"))
    multiply({expand(referred(schema["$ref"], path), path + "/$ref", depth + 1)}, path + "/$ref", false);
  for (const char* name : {"allOf", "anyOf", "oneOf"}) {
    const auto found = schema.find(name);
    if (found == schema.end()) continue;
    const std::string where = path + "/" + name;
    if (!found->is_array() || found->empty()) wrong_keyword(where, "is not a list of schemas");
    std::vector<std::vector<Json>> branches;
    for (size_t i = 0; i < found->size(); ++i)
      branches.push_back(expand((*found)[i], fmt::format("{}/{}", where, i), depth + 1));
    if (std::string_view(name) == "allOf") {
      for (const std::vector<Json>& branch : branches) multiply({branch}, where, false);
    } else {
      multiply(branches, where, std::string_view(name) == "oneOf");
    }
  }
  return all;
}

/// Whether no value satisfies both; false where that cannot be told.
bool Schemas::disjoint(const Json& a, const Json& b, const std::string& path, int depth) const {
  if (a == Json(false) || b == Json(false)) return true;
  if (!a.is_object() || !b.is_object() || depth > kMaxCombined + kMaxLook) return false;
  const std::vector<std::string_view> a_types = types_of(a);
  const std::vector<std::string_view> b_types = types_of(b);
  const auto in = [](const std::vector<std::string_view>& types) {
    return [&types](std::string_view type) { return has_type(type, types); };
  };
  if (std::ranges::none_of(a_types, in(b_types)) && std::ranges::none_of(b_types, in(a_types))) return true;
  if (a.contains("enum") && b.contains("enum")) {
    return std::ranges::none_of(
        a["enum"], [&](const Json& value) { return std::ranges::find(b["enum"], value) != b["enum"].end(); });
  }
  if (a_types != b_types || a_types.size() != 1 || a_types.front() != "object") return false;
  const auto has_required = [](const Json& schema, const std::string& name) {
    return schema.contains("required") && std::ranges::find(schema["required"], Json(name)) != schema["required"].end();
  };
  const auto forbids = [](const Json& schema, const std::string& name) {
    return value_or(schema, "additionalProperties", true) == Json(false) &&
           !value_or(schema, "properties", Json::object()).contains(name);
  };
  for (const auto& [one, other] : {std::pair{&a, &b}, {&b, &a}}) {
    for (const Json& name : value_or(*one, "required", Json::array())) {
      if (name.is_string() && forbids(*other, name.get<std::string>())) return true;
    }
  }
  if (!a.contains("properties") || !b.contains("properties")) return false;
  for (const auto& [name, value] : a["properties"].items()) {
    if (!has_required(a, name) || !has_required(b, name) || !b["properties"].contains(name)) continue;
    const std::vector<Json> mine = expand(value, path, depth + kMaxCombined / kMaxLook);
    const std::vector<Json> theirs = expand(b["properties"][name], path, depth + kMaxCombined / kMaxLook);
    const auto apart = [&](const Json& x) {
      return std::ranges::all_of(theirs,
                                 [&](const Json& y) { return disjoint(x, y, path, depth + kMaxCombined / kMaxLook); });
    };
    if (std::ranges::all_of(mine, apart)) return true;
  }
  return false;
}

}  // namespace prosa::grammar
