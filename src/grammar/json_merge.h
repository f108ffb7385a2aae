// What a JSON Schema says on its outermost level once references and combinations are worked out: a list of
// alternatives, each of which says all of it.
//
// Looks into schemas inside a schema only where oneOf has to know whether branches exclude each other. Errors name the
// keyword with its path. Lives no longer than the document it is made for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace prosa::grammar {

/// Error(unsupported): it cannot be honoured.
[[noreturn]] void refuse_keyword(const std::string& path, const std::string& what);
/// Error(invalid_argument): the schema is none.
[[noreturn]] void wrong_keyword(const std::string& path, const std::string& what);

/// The types that a schema without combinations leaves, "integer" beside "number" never.
std::vector<std::string_view> types_of(const nlohmann::ordered_json& schema);

class Schemas {
 public:
  using Json = nlohmann::ordered_json;

  Schemas(const Json& root, std::string where) : root_(root), where_(std::move(where)) {}
  [[nodiscard]] const std::string& where() const noexcept { return where_; }

  /// What a schema that is a $ref and nothing else refers to; null for any other.
  [[nodiscard]] const Json* pure_reference(const Json& schema, const std::string& path) const;
  /// Booleans, and objects without $ref, anyOf, oneOf, allOf, const and annotations; an enum has only values that the
  /// rest of its alternative allows. Empty: nothing satisfies the schema.
  [[nodiscard]] std::vector<Json> alternatives(const Json& schema, const std::string& path) const;

 private:
  [[nodiscard]] std::vector<Json> expand(const Json& schema, const std::string& path, int depth) const;
  [[nodiscard]] const Json& referred(const Json& reference, const std::string& path) const;
  [[nodiscard]] bool disjoint(const Json& a, const Json& b, const std::string& path, int depth) const;

  const Json& root_;
  const std::string where_;
};

}  // namespace prosa::grammar
