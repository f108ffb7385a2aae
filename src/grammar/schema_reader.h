// Reads the schemas of one JSON document into rules: what json_schema.h and function_calls.h are made of.
//
// Schemas inside a schema are rules, one for each different text, which are read when all is put together: this is how
// recursion ends. Lives no longer than the document it is made for. Errors: those of read_json_schema().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "grammar/json_merge.h"
#include "grammar/json_parts.h"
#include "grammar/part.h"
#include "grammar/text_until.h"

namespace prosa::grammar {

/// How the strings of a schema are written.
enum class StringForm {
  json,          // "as JSON"
  json_in_tags,  // the same, in a value between tags: no string holds what could be taken for a tag's end
  tagged,        // as they are, between "<parameter=NAME>\n" and "\n</parameter>"; the end tag belongs to the part
};

/// Rules that all readers of values between tags have in common, behind an empty rule 0: `shared` of them.
struct TagRules {
  Rules rules;
  TextRules text;            // any value with its end tag
  uint32_t string_rest = 0;  // of a JSON string in a value
  uint32_t shared = 0;
};
const TagRules& tag_rules();

class SchemaReader {
 public:
  using Json = nlohmann::ordered_json;

  /// `where` names the document in errors. `strings`: how its strings are written; where they stand between tags, the
  /// rules begin with tag_rules().
  SchemaReader(const Json& root, std::string where, StringForm strings = StringForm::json);

  /// The whole document.
  Rules read();

  /// Or its parts, one by one, put together by finish():

  [[nodiscard]] const Schemas& schemas() const noexcept { return schemas_; }
  /// The rule of a schema, which is made later.
  Part rule_of(const Json& schema, const std::string& path);
  /// What this type may be by a schema without references and combinations.
  Part typed_part(std::string_view type, const Json& schema, const std::string& path);
  /// A string of such a schema in another form than that of the others.
  Part string_part(const Json& schema, const std::string& path, StringForm form);
  /// One value, with space where JSON may have some.
  Part value_part(const Json& value, const std::string& path) const;
  /// Any text as the value of a tag, with the end tag. Not `like_json`: none that could be read as JSON, or as one of
  /// Python's constants.
  static Part tagged_text(bool like_json = true);
  /// All rules, `whole` as the first of them.
  Rules finish(Part whole);

 private:
  Part part_of(const Json& schema, const std::string& path);
  Part simple_part(const Json& schema, const std::string& path);
  Part array_part(const Json& schema, const std::string& path);
  Part object_part(const Json& schema, const std::string& path);
  Part rest_of_string();
  Part characters(const std::string& text, const std::string& path) const;

  struct Waiting {
    Json schema;
    std::string path;
    uint32_t number = 0;
  };

  const Json& root_;
  const Schemas schemas_;
  const StringForm strings_;
  Rules rules_;                            // 0: the whole
  std::map<std::string, uint32_t> known_;  // rules by their schemas
  std::optional<uint32_t> rest_of_string_;
  std::vector<Waiting> waiting_;  // rules that have no part yet
};

}  // namespace prosa::grammar
