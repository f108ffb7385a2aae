// JSON of requests and answers (json_text.h).
#include "server/json_text.h"

#include <cmath>

#include <fmt/format.h>

#include "base/json.h"
#include "prosa/error.h"

namespace prosa::server {
namespace {

/// A body is bounded by the listener already. What a few megabytes can blow up to in memory is bounded here.
constexpr JsonLimits kLimits{
    .max_bytes = size_t{64} << 20, .max_entries = size_t{1} << 18, .max_depth = 128, .unique_keys = true};

std::string_view kind_of(const Json& json) {
  switch (json.type()) {
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "a list";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "true or false";
    default: return json.is_number() ? "a number" : "null";
  }
}

}  // namespace

std::string to_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json read_body(std::string_view body) {
  if (body.empty()) throw Error(ErrorCode::invalid_argument, "the request has no body", "body", "Send a JSON object.");
  Json json = parse_ordered_json(body, {"body"}, kLimits);
  if (!json.is_object()) {
    const std::string kind(kind_of(json));
    dismantle(json);
    throw Error(ErrorCode::invalid_argument, "is " + kind + " and no object", "body", "Send a JSON object.");
  }
  return json;
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (object.is_object()) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be an object", kind_of(object)), path_);
}

const Json* Fields::find(std::string_view name) const {
  const auto found = object_->find(std::string(name));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void Fields::refuse(std::string_view name, const std::string& message) const {
  throw Error(ErrorCode::invalid_argument, message, path_of(name));
}

void Fields::refuse_unsupported(std::string_view name, const std::string& message, const std::string& remedy) const {
  throw Error(ErrorCode::unsupported, message, path_of(name), remedy);
}

std::optional<bool> Fields::boolean(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse(name, fmt::format("is {}, but must be true or false", kind_of(*value)));
  return value->get<bool>();
}

std::optional<double> Fields::number(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_number()) refuse(name, fmt::format("is {}, but must be a number", kind_of(*value)));
  return value->get<double>();
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t least, int64_t most) const {
  const auto value = number(name);
  if (!value) return {};
  // 64.0 is what some languages write for 64.
  if (!(*value >= static_cast<double>(least) && *value <= static_cast<double>(most)) || std::floor(*value) != *value) {
    refuse(name, fmt::format("is {}, but must be a whole number of {} to {}", *value, least, most));
  }
  return static_cast<int64_t>(*value);
}

std::optional<std::string> Fields::text(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(name, fmt::format("is {}, but must be a string", kind_of(*value)));
  return value->get<std::string>();
}

std::vector<std::string> Fields::texts(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array())
    refuse(name, fmt::format("is {}, but must be a string or a list of strings", kind_of(*value)));
  std::vector<std::string> texts;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& item = (*value)[i];
    if (!item.is_string())
      refuse(fmt::format("{}[{}]", name, i), fmt::format("is {}, but must be a string", kind_of(item)));
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

const Json* Fields::list(std::string_view name) const {
  const Json* value = find(name);
  if (value != nullptr && !value->is_array()) refuse(name, fmt::format("is {}, but must be a list", kind_of(*value)));
  return value;
}

std::optional<Fields> Fields::object(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  return Fields(*value, path_of(name));
}

std::string Fields::required_text(std::string_view name) const {
  auto value = text(name);
  if (!value) refuse(name, "is missing");
  return *std::move(value);
}

}  // namespace prosa::server
