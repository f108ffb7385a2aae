// A schema becomes alternatives without $ref, anyOf, oneOf and allOf on their outermost level; each alternative becomes
// one part for each type that it leaves. Schemas inside it are rules, one for each that is different.
#include "grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "grammar/network.h"
#include "grammar/regex.h"
#include "grammar/schema_reader.h"
#include "grammar/text_until.h"
#include "prosa/error.h"

namespace prosa::grammar {

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t kMaxSchemaBytes = size_t{1} << 20;
constexpr size_t kMaxNameBytes = 1000;  // of a property
constexpr int64_t kMaxCount = 100'000;  // of items and characters; what is written out is bounded by the network

constexpr std::string_view kValueEnd = "</parameter>";
constexpr std::string_view kCallEnd = "</function>";
constexpr std::string_view kNextValue = "\n<parameter=";

/// What a string may hold that stands inside a tagged value and has to be found whole by whoever reads the tags: where
/// the string is bounded by something else than tags too, no tag begins in it at all.
CharSet without_tags(CharSet set) { return both(set, complement({{'<', '<'}})); }

/// Of values between tags: without control characters, but for tabs and line ends.
const CharSet kTaggedCharacters = {{'\t', '\n'}, {'\r', '\r'}, {0x20, 0x7E}, {0x80, 0xD7FF}, {0xE000, kLastCharacter}};
/// What neither JSON begins with, nor Python's constants, nor a space.
const CharSet kTaggedWordBegin = {
    {'!', '!'},     {'#', ','},       {'.', '/'},       {':', 'E'},       {'G', 'M'},       {'O', 'S'},
    {'U', 'Z'},     {'\\', 'e'},      {'g', 'm'},       {'o', 's'},       {'u', 'z'},       {'|', '~'},
    {0xC0, 0x167F}, {0x1681, 0x1FFF}, {0x2030, 0x205E}, {0x2060, 0x2FFF}, {0x3001, 0xD7FF}, {0xE000, kLastCharacter}};

CharSet alphabet_of(StringForm form) {
  switch (form) {
    case StringForm::json: return {{0, kLastCharacter}};
    case StringForm::json_in_tags: return without_tags({{0, kLastCharacter}});
    case StringForm::tagged: return without_tags(kTaggedCharacters);
  }
  return {};
}

/// Of integers any bound, of other numbers whole ones.
NumberBound bound_of(const Json& value, bool open, bool integer, bool lower, const std::string& path) {
  constexpr double kLargest = 1e15;  // whole numbers up to here are exact, and so are sums with them
  if (!value.is_number()) wrong_keyword(path, "is not a number");
  const double number = value.get<double>();
  if (!(number >= -kLargest && number <= kLargest)) refuse_keyword(path, "a bound beyond 1e15");
  const double whole = std::floor(number);
  if (whole == number) return {static_cast<int64_t>(number), open};
  if (!integer) refuse_keyword(path, "a bound of numbers that is not whole");
  return {static_cast<int64_t>(whole) + (lower ? 1 : 0), false};
}

Part number_part(bool integer, const Json& schema, const std::string& path) {
  std::optional<NumberBound> least;
  std::optional<NumberBound> most;
  for (const auto& [name, open] : {std::pair{"minimum", false}, {"exclusiveMinimum", true}}) {
    const auto found = schema.find(name);
    if (found == schema.end()) continue;
    const NumberBound bound = bound_of(*found, open, integer, true, path + "/" + name);
    if (!least || bound.value > least->value || (bound.value == least->value && bound.open)) least = bound;
  }
  for (const auto& [name, open] : {std::pair{"maximum", false}, {"exclusiveMaximum", true}}) {
    const auto found = schema.find(name);
    if (found == schema.end()) continue;
    const NumberBound bound = bound_of(*found, open, integer, false, path + "/" + name);
    if (!most || bound.value < most->value || (bound.value == most->value && bound.open)) most = bound;
  }
  if (!integer) return least || most ? json_number_between(least, most) : json_number();
  constexpr int64_t kLargest = 999'999'999'999'999'999;  // 18 digits: what every reader takes as an integer
  const int64_t from = least ? least->value + (least->open ? 1 : 0) : -kLargest;
  const int64_t to = most ? most->value - (most->open ? 1 : 0) : kLargest;
  return integer_between(from, to);
}

int64_t count_of(const Json& schema, const char* name, int64_t otherwise, const std::string& path) {
  const auto found = schema.find(name);
  if (found == schema.end()) return otherwise;
  const bool whole = found->is_number_integer() ||
                     (found->is_number_float() && std::floor(found->get<double>()) == found->get<double>());
  if (!whole || found->get<double>() < 0) wrong_keyword(path + "/" + name, "is not a count");
  if (found->get<double>() > static_cast<double>(kMaxCount))
    refuse_keyword(path + "/" + name, fmt::format("a count above {}", kMaxCount));
  return static_cast<int64_t>(found->get<double>());
}

}  // namespace

SchemaReader::SchemaReader(const Json& root, std::string where, StringForm strings)
    : root_(root), schemas_(root, std::move(where)), strings_(strings) {
  if (strings_ == StringForm::json) {
    rules_.parts.emplace_back();
    rules_.names.push_back(schemas_.where());
  } else {
    rules_ = tag_rules().rules;
    rules_.names[0] = schemas_.where();
  }
}

Rules SchemaReader::read() {
  known_.emplace(root_.dump(), 0);
  return finish(part_of(root_, schemas_.where()));
}

Rules SchemaReader::finish(Part whole) {
  rules_.parts[0] = std::move(whole);
  while (!waiting_.empty()) {
    const Waiting next = std::move(waiting_.back());
    waiting_.pop_back();
    rules_.parts[next.number] = part_of(next.schema, next.path);
  }
  return std::move(rules_);
}

/// Schemas may be as deep inside each other as they like.
Part SchemaReader::rule_of(const Json& schema, const std::string& path) {
  const auto [found, fresh] = known_.try_emplace(schema.dump(), static_cast<uint32_t>(rules_.parts.size()));
  if (!fresh) return rule(found->second);
  if (rules_.parts.size() >= Network::kMaxRules)
    refuse_keyword(path, fmt::format("more than {} different schemas", Network::kMaxRules));
  rules_.parts.emplace_back();
  rules_.names.push_back(path);
  waiting_.push_back({schema, path, found->second});
  return rule(found->second);
}

Part SchemaReader::part_of(const Json& schema, const std::string& path) {
  // A reference alone is the rule of what it refers to: this is where recursion is.
  if (const Json* target = schemas_.pure_reference(schema, path)) return rule_of(*target, path + "/$ref");
  std::vector<Part> choices;
  for (const Json& simple : schemas_.alternatives(schema, path)) choices.push_back(simple_part(simple, path));
  return choice(std::move(choices));
}

/// Of a schema without references and combinations.
Part SchemaReader::simple_part(const Json& schema, const std::string& path) {
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) return choice({});
    return rule_of(Json{{"type", {"null", "boolean", "number", "string", "array", "object"}}}, "value");
  }
  if (schema.contains("enum")) {  // as reading left it: only values that satisfy all the rest
    std::vector<Part> values;
    for (const Json& value : schema["enum"]) values.push_back(value_part(value, path));
    return choice(std::move(values));
  }
  std::vector<Part> choices;
  for (const std::string_view type : types_of(schema)) choices.push_back(typed_part(type, schema, path));
  return choice(std::move(choices));
}

Part SchemaReader::typed_part(std::string_view type, const Json& schema, const std::string& path) {
  if (type == "null") return literal("null");
  if (type == "boolean") return choice({literal("true"), literal("false")});
  if (type == "string") return string_part(schema, path, strings_);
  if (type == "array") return array_part(schema, path);
  if (type == "object") return object_part(schema, path);
  return number_part(type == "integer", schema, path);
}

Part SchemaReader::array_part(const Json& schema, const std::string& path) {
  const int64_t least = count_of(schema, "minItems", 0, path);
  const bool bounded = schema.contains("maxItems");
  const int64_t most = bounded ? count_of(schema, "maxItems", 0, path) : kMaxCount;
  std::vector<Part> first;
  if (const auto prefix = schema.find("prefixItems"); prefix != schema.end()) {
    if (!prefix->is_array()) wrong_keyword(path + "/prefixItems", "is not a list");
    for (size_t i = 0; i < prefix->size(); ++i)
      first.push_back(rule_of((*prefix)[i], fmt::format("{}/prefixItems/{}", path, i)));
  }
  const auto items = schema.find("items");
  const Json rest = items == schema.end() ? Json(true) : *items;
  if (most < least) return choice({});
  // [first ..., rest ...]: how many there are decides, from the back.
  const Part item = rule_of(rest, path + "/items");
  const auto prefix = static_cast<int64_t>(first.size());
  const Part comma = sequence({literal(","), json_space()});
  Part inside;
  if (most > prefix) {
    const auto more_least = static_cast<int>(std::max<int64_t>(least - prefix, 0));
    const std::optional<int> more_most = bounded ? std::optional(static_cast<int>(most - prefix)) : std::nullopt;
    const Part next = sequence({comma, item});
    if (prefix > 0) {
      inside = repeat(next, more_least, more_most);
    } else {
      const std::optional<int> others = more_most ? std::optional(*more_most - 1) : std::nullopt;
      inside = sequence({item, repeat(next, std::max(more_least - 1, 0), others)});
      if (more_least == 0) inside = maybe(std::move(inside));
    }
  }
  for (int64_t i = std::min(prefix, most); i-- > 0;) {
    inside = sequence({i > 0 ? comma : Part{}, first[static_cast<size_t>(i)], std::move(inside)});
    if (least <= i) inside = maybe(std::move(inside));
  }
  return sequence({literal("["), json_space(), std::move(inside), json_space(), literal("]")});
}

Part SchemaReader::object_part(const Json& schema, const std::string& path) {
  std::set<std::string> missing;  // required and not named
  if (const auto required = schema.find("required"); required != schema.end()) {
    if (!required->is_array()) wrong_keyword(path + "/required", "is not a list");
    for (const Json& name : *required) {
      if (!name.is_string()) wrong_keyword(path + "/required", "holds something else than names");
      missing.insert(name.get<std::string>());
    }
  }
  const auto more = schema.find("additionalProperties");
  const Json others = more == schema.end() ? Json(true) : *more;
  const std::string others_path = path + "/additionalProperties";
  const Part colon = sequence({literal(":"), json_space()});
  std::vector<Part> pairs;
  std::vector<bool> required;
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, const Json& value, const std::string& value_path, bool needed) {
    if (name.size() > kMaxNameBytes) refuse_keyword(path, fmt::format("a name of more than {} bytes", kMaxNameBytes));
    names.push_back(name);
    required.push_back(needed);
    pairs.push_back(
        sequence({literal("\""), characters(name, path), literal("\""), colon, rule_of(value, value_path)}));
  };
  if (const auto properties = schema.find("properties"); properties != schema.end()) {
    if (!properties->is_object()) wrong_keyword(path + "/properties", "is not an object");
    for (const auto& [name, value] : properties->items())
      add(name, value, path + "/properties/" + name, missing.erase(name) > 0);
  }
  for (const std::string& name : missing) add(name, others, others_path, true);
  const Part comma = sequence({literal(","), json_space()});
  if (!(others.is_boolean() && !others.get<bool>())) {
    const Part pair = sequence(
        {json_string_except(names, rest_of_string(), alphabet_of(strings_)), colon, rule_of(others, others_path)});
    pairs.push_back(sequence({pair, repeat(sequence({comma, pair}), 0, {})}));
    required.push_back(false);
  }
  return sequence(
      {literal("{"), json_space(), list(comma, std::move(pairs), std::move(required)), json_space(), literal("}")});
}

Part SchemaReader::string_part(const Json& schema, const std::string& path, StringForm form) {
  const bool tagged = form == StringForm::tagged;
  const CharSet alphabet = alphabet_of(form);
  const auto closed = [tagged](Part inside) {
    return tagged ? sequence({std::move(inside), literal("\n"), literal(kValueEnd)})
                  : sequence({literal("\""), std::move(inside), literal("\"")});
  };
  const bool sized = schema.contains("minLength") || schema.contains("maxLength");
  const auto pattern = schema.find("pattern");
  const auto format = schema.find("format");
  if ((pattern != schema.end()) + (format != schema.end()) + static_cast<int>(sized) > 1)
    refuse_keyword(path, "a string with more than one of pattern, format and a length");
  if (pattern != schema.end()) {
    if (!pattern->is_string()) wrong_keyword(path + "/pattern", "is not a string");
    return closed(read_regex(pattern->get<std::string>(),
                             {.whole = false, .in_json = !tagged, .where = path + "/pattern", .alphabet = alphabet}));
  }
  if (format != schema.end()) {
    if (!format->is_string()) wrong_keyword(path + "/format", "is not a string");
    const std::optional<Part> known = json_format(format->get<std::string>());
    if (!known) refuse_keyword(path + "/format", fmt::format("the format {}", format->dump()));
    return closed(*known);
  }
  const int64_t least = count_of(schema, "minLength", 0, path);
  const bool bounded = schema.contains("maxLength");
  if (least == 0 && !bounded) return tagged ? tagged_text() : sequence({literal("\""), rest_of_string()});
  const int64_t most = bounded ? count_of(schema, "maxLength", 0, path) : 0;
  if (bounded && most < least) return choice({});
  return closed(repeat(tagged ? one_of(alphabet) : one_of_in_json(alphabet), static_cast<int>(least),
                       bounded ? std::optional(static_cast<int>(most)) : std::nullopt));
}

/// One rule for all strings and keys, so that what it allows is found once.
Part SchemaReader::rest_of_string() {
  if (strings_ != StringForm::json) return rule(tag_rules().string_rest);
  if (!rest_of_string_) {
    rest_of_string_ = static_cast<uint32_t>(rules_.parts.size());
    rules_.parts.push_back(json_string_rest());
    rules_.names.emplace_back("string");
  }
  return rule(*rest_of_string_);
}

const TagRules& tag_rules() {
  static const TagRules made = [] {
    TagRules all;
    all.rules.parts.emplace_back();
    all.text = add_text_until({.end = "\n" + std::string(kValueEnd),
                               .never = {std::string(kValueEnd), std::string(kCallEnd), std::string(kNextValue)},
                               .alphabet = kTaggedCharacters,
                               .behind = "\n"},
                              all.rules);
    all.string_rest = add_text_until({.end = "\"",
                                      .never = {std::string(kValueEnd), std::string(kCallEnd)},
                                      .alphabet = {{0, kLastCharacter}},
                                      .in_json = true},
                                     all.rules)
                          .whole;
    all.shared = static_cast<uint32_t>(all.rules.parts.size()) - 1;
    all.rules.names.resize(all.rules.parts.size(), "text");
    return all;
  }();
  return made;
}

Part SchemaReader::tagged_text(bool like_json) {
  const TextRules& text = tag_rules().text;
  if (like_json) return rule(text.whole);
  return choice(
      {literal("\n" + std::string(kValueEnd)), sequence({one_of(without_tags(kTaggedWordBegin)), rule(text.rest)})});
}

Part SchemaReader::characters(const std::string& text, const std::string& path) const {
  if (strings_ != StringForm::json &&
      (text.find(kValueEnd) != std::string::npos || text.find(kCallEnd) != std::string::npos))
    refuse_keyword(path, "a text with a tag of tool calls in it");
  return json_characters(text);
}

/// One value, with space where JSON may have some.
Part SchemaReader::value_part(const Json& value, const std::string& path) const {
  if (value.is_string()) return sequence({literal("\""), characters(value.get<std::string>(), path), literal("\"")});
  if (!value.is_structured()) return literal(value.dump());
  const Part comma = sequence({literal(","), json_space()});
  std::vector<Part> inside = {json_space()};
  for (const auto& [name, each] : value.items()) {
    if (inside.size() > 1) inside.push_back(comma);
    if (value.is_object())
      inside.push_back(sequence({literal("\""), characters(name, path), literal("\":"), json_space()}));
    inside.push_back(value_part(each, path));
  }
  inside.push_back(json_space());
  inside.insert(inside.begin(), literal(value.is_object() ? "{" : "["));
  inside.push_back(literal(value.is_object() ? "}" : "]"));
  return sequence(std::move(inside));
}

Rules read_json_schema(const Json& schema, const std::string& where) { return SchemaReader(schema, where).read(); }

Rules read_json_schema_text(std::string_view text, const std::string& where) {
  Json schema = parse_ordered_json(text, {.where = where}, {.max_bytes = kMaxSchemaBytes});
  const JsonGuard guard(schema);
  return read_json_schema(schema, where);
}

Rules any_json(bool object) { return read_json_schema(object ? Json{{"type", "object"}} : Json(true), "json"); }

}  // namespace prosa::grammar
