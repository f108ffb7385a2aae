// JSON objects of a model folder: typed access with errors that name file, key and value.
//
// The text is read by base/json.h. Invariant: a value that comes out of a getter lies within the bounds given to it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace prosa::checkpoint {

/// Errors: not_found, io, bad_checkpoint (not JSON within the bounds of JsonLimits, not an object).
nlohmann::json read_json_object(const std::filesystem::path& file, size_t max_bytes = size_t{16} << 20);

/// An object of a JSON file together with where it came from: "config.json: text_config".
class JsonObject {
 public:
  JsonObject(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  [[nodiscard]] const nlohmann::json& value() const noexcept { return *object_; }
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  /// The value, or nullptr when the key is missing or null.
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  /// The object under `key`; nothing when missing or null.
  [[nodiscard]] std::optional<JsonObject> object(std::string_view key) const;

  [[nodiscard]] std::optional<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  [[nodiscard]] std::optional<double> number(std::string_view key, double min, double max) const;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view key) const;

  /// Error(bad_checkpoint): key, value found, value expected.
  [[noreturn]] void bad(std::string_view key, const std::string& expected) const;
  /// Error(unsupported): the same for a value that is well-formed but unknown here.
  [[noreturn]] void unsupported(std::string_view key, const std::string& expected) const;
  [[noreturn]] void missing(std::string_view key) const;

 private:
  [[nodiscard]] std::string found(std::string_view key) const;
  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace prosa::checkpoint
