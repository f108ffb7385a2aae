// Typed getters. No knowledge of any particular key.
#include "checkpoint/json_object.h"

#include <cmath>

#include "base/json.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

using nlohmann::json;

json read_json_object(const std::filesystem::path& file, size_t max_bytes) {
  constexpr const char* kRemedy = "the file is damaged: fetch it again";
  json document = read_json_file(file, ErrorCode::bad_checkpoint, {.max_bytes = max_bytes}, kRemedy);
  if (!document.is_object()) {
    throw Error(ErrorCode::bad_checkpoint, "must hold a JSON object", file.string(), kRemedy);
  }
  return document;
}

const json* JsonObject::find(std::string_view key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::optional<JsonObject> JsonObject::object(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) bad(key, "an object");
  return JsonObject(*value, where_ + ": " + std::string(key));
}

std::optional<int64_t> JsonObject::integer(std::string_view key, int64_t min, int64_t max) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::string expected = "an integer in [" + std::to_string(min) + ", " + std::to_string(max) + "]";
  if (!value->is_number_integer()) bad(key, expected);
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) bad(key, expected);
  const auto result = value->get<int64_t>();
  if (result < min || result > max) bad(key, expected);
  return result;
}

std::optional<double> JsonObject::number(std::string_view key, double min, double max) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const double result = value->is_number() ? value->get<double>() : std::nan("");
  if (!(result >= min && result <= max)) {
    bad(key, "a number in [" + json(min).dump() + ", " + json(max).dump() + "]");
  }
  return result;
}

std::optional<bool> JsonObject::boolean(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) bad(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonObject::text(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) bad(key, "a string");
  return value->get<std::string>();
}

std::string JsonObject::found(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) return "nothing";
  std::string text = value->dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

void JsonObject::bad(std::string_view key, const std::string& expected) const {
  throw Error(ErrorCode::bad_checkpoint, std::string(key) + " is " + found(key) + ", expected " + expected, where_);
}

void JsonObject::unsupported(std::string_view key, const std::string& expected) const {
  throw Error(ErrorCode::unsupported, std::string(key) + " is " + found(key) + ", supported: " + expected, where_);
}

void JsonObject::missing(std::string_view key) const {
  throw Error(ErrorCode::bad_checkpoint, "the key " + std::string(key) + " is missing", where_);
}

}  // namespace prosa::checkpoint
