// What a reply's answer has to be: text, JSON, or whatever a schema, an expression or a grammar describes; and whether
// it may or has to call tools.
//
// It is held to while the reply is written: of each token only those are chosen among that can be gone on from. So an
// answer that has ended by itself (FinishReason::stop) is in the format, at any temperature; one that was ended from
// outside (length, stop_string, cancelled, …) is the beginning of one. Thoughts are free. Guide, limits and what
// schemas may say: docs/guide/structured-output.md.
#pragma once

#include <string>
#include <utility>

namespace prosa {

struct ReplyFormat {
  enum class Kind { text, json_object, json_schema, regex, grammar };

  /// Any JSON object.
  static ReplyFormat json_object() { return {Kind::json_object, {}}; }
  /// JSON by a JSON Schema (draft 2020-12). What the schema says and prosa cannot hold to is refused, never ignored:
  /// Error(unsupported) names the keyword by its path, "schema/properties/age/multipleOf".
  static ReplyFormat json_schema(std::string schema) { return {Kind::json_schema, std::move(schema)}; }
  /// A text that a regular expression matches as a whole.
  static ReplyFormat regex(std::string expression) { return {Kind::regex, std::move(expression)}; }
  /// A text of a grammar in GBNF, the notation of llama.cpp.
  static ReplyFormat grammar(std::string gbnf) { return {Kind::grammar, std::move(gbnf)}; }

  Kind kind = Kind::text;
  std::string source = {};  // the schema, the expression or the grammar

  [[nodiscard]] bool holds() const noexcept { return kind != Kind::text; }
};

/// Errors: invalid_argument (the source is none), unsupported (what cannot be held to), by the path of what is wrong. A
/// reply is refused with the same.
void validate(const ReplyFormat& format);

/// Whether a reply calls tools. Where it does, the name is one of those offered and the arguments satisfy the tool's
/// schema. A tool with "strict": true is held to all that its schema says, or refused; what other tools say and prosa
/// cannot hold to is left free and named in ReplyStats::left_free.
struct ToolChoice {
  enum class Kind {
    automatic,  // as the model likes
    none,       // never
    required,   // at least one call, and nothing else
    named,      // the same, of this tool
  };
  static ToolChoice none() { return {Kind::none, {}}; }
  static ToolChoice required() { return {Kind::required, {}}; }
  static ToolChoice named(std::string name) { return {Kind::named, std::move(name)}; }

  Kind kind = Kind::automatic;
  std::string name = {};
};

}  // namespace prosa
