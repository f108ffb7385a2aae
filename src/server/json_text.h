// JSON in and out of the server: the bounded reader for bodies, one way of writing, and fields read by their types.
//
// Knows no field's meaning. Every error names the field by its path in the request ("messages[2].content"). What is
// null counts as not there, as all clients mean it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace prosa::server {

using Json = nlohmann::ordered_json;

/// One line; damaged UTF-8 is replaced.
std::string to_text(const Json& json);
/// A request's body, which must be an object. Error(invalid_argument).
Json read_body(std::string_view body);

/// The fields of an object of a request. Refers to it.
class Fields {
 public:
  /// `path`: of the object; "" is the body itself. Error(invalid_argument): it is no object.
  explicit Fields(const Json& object, std::string path = {});

  /// Null: not there.
  [[nodiscard]] const Json* find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  /// "options.stop".
  [[nodiscard]] std::string path_of(std::string_view name) const;

  // Nothing where the field is not there. Error(invalid_argument): another type, or out of range.
  [[nodiscard]] std::optional<bool> boolean(std::string_view name) const;
  [[nodiscard]] std::optional<double> number(std::string_view name) const;
  [[nodiscard]] std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  /// A text, or a list of them.
  [[nodiscard]] std::vector<std::string> texts(std::string_view name) const;
  [[nodiscard]] const Json* list(std::string_view name) const;
  [[nodiscard]] std::optional<Fields> object(std::string_view name) const;
  /// One that must be there.
  [[nodiscard]] std::string required_text(std::string_view name) const;

  /// Error(invalid_argument) about a field.
  [[noreturn]] void refuse(std::string_view name, const std::string& message) const;
  /// Error(unsupported): well meant, but not offered.
  [[noreturn]] void refuse_unsupported(std::string_view name, const std::string& message,
                                       const std::string& remedy = {}) const;

 private:
  const Json* object_;
  std::string path_;
};

inline constexpr int64_t kMaxInteger = std::numeric_limits<int32_t>::max();

}  // namespace prosa::server
