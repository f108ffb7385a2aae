// JSON Schemas as grammars: what each keyword allows and does not, what random walks through them write against the
// schema reader of the evaluation, and what is refused by its path.
#include "grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include <nlohmann/json.hpp>

#include "grammar/constraint.h"
#include "prosa/error.h"
#include "tools/eval/json_schema.h"

namespace prosa::grammar {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

/// Texts that a schema allows and others that it does not.
struct Case {
  const char* schema;
  std::vector<const char*> allowed;
  std::vector<const char*> not_allowed;
};

void check(const Case& each) {
  const Rules rules = read_json_schema_text(each.schema);
  for (const char* text : each.allowed) EXPECT_TRUE(matches(rules, text, "s")) << text << " by " << each.schema;
  for (const char* text : each.not_allowed) EXPECT_FALSE(matches(rules, text, "s")) << text << " by " << each.schema;
}

TEST(JsonSchema, Types) {
  check({"true",
         {"null", "-1.5e3", "\"a\"", "[1, {\"a\": [true]}]", "{}"},
         {"", "nul", "[1", "01", "\"\t\"", "1 2", "'a'"}});
  check({R"({"type": "boolean"})", {"true", "false"}, {"null", "0", "\"true\""}});
  check({R"({"type": ["null", "integer"]})", {"null", "-7", "0"}, {"1.5", "true", "-0", "1e3"}});
  check({R"({"type": "number", "title": "t", "x-mine": 1})", {"1", "-0.25", "1E-7"}, {"\"1\"", ".5", "1.", "+1"}});
  check({R"({"type": "object"})",
         {"{}", "{\"a\":1, \"b\": {}}", "{\n  \"a\": 1\n}"},
         {"[]", "{\"a\"}", "{,}", "{\"a\":1,}"}});
}

TEST(JsonSchema, Strings) {
  check({R"({"type": "string", "minLength": 2, "maxLength": 3})",
         {R"("ab")", R"("äöü")", R"("\"\\\n")"},
         {R"("a")", R"("abcd")", "ab"}});
  check({R"({"type": "string", "pattern": "^a+\"$"})", {R"("aa\"")"}, {R"("a")", R"("ba\"")"}});
  check({R"({"type": "string", "pattern": "b"})", {R"("abc")"}, {R"("ac")"}});
  check({R"({"type": "string", "format": "date"})",
         {R"("2024-02-28")", R"("2024-02-29")", R"("2000-02-29")"},
         {R"("2024-02-30")", R"("2024-13-01")", R"("24-01-01")", R"("2023-02-29")", R"("1900-02-29")",
          R"("0000-01-01")"}});
  check({R"({"format": "date-time"})", {R"("2024-01-31T23:59:59.5+01:00")", "7"}, {R"("2024-01-31")"}});
  check({R"({"type": "string", "format": "ipv4"})", {R"("192.168.0.255")"}, {R"("192.168.0.256")", R"("1.2.3")"}});
  check({R"({"type": "string", "format": "uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123")"}});
  check({R"({"type": "string", "format": "duration"})",
         {R"("P1Y2M3D")", R"("PT5M")", R"("P2W")", R"("P1Y2M3DT4H5M6S")", R"("P3DT4S")"},
         {R"("P")", R"("5M")", R"("P1YT")", R"("P1Y3D")", R"("P1D2M")", R"("PT1D")"}});
  check({R"({"type": "string", "format": "hostname"})",
         {R"("example.org")", R"("a-b")"},
         {R"("xn--X")", R"("-a")", R"("a-")", R"("a..b")"}});
  check({R"({"type": "string", "format": "email"})", {R"("te.s~t@example.com")"}, {R"("a@b")", R"(".a@b.c")"}});
}

TEST(JsonSchema, Numbers) {
  check({R"({"type": "integer", "minimum": 1, "exclusiveMaximum": 12})", {"1", "11"}, {"0", "12", "5.0"}});
  check({R"({"type": "integer", "minimum": 0.5, "maximum": 2.5})", {"1", "2"}, {"0", "3"}});
  check({R"({"type": "number", "minimum": -1, "maximum": 2})",
         {"-1", "-0.999", "0", "0.5", "1.75", "2", "2.0"},
         {"-1.001", "2.01", "-2", "3", "10"}});
  check({R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})",
         {"0.001", "0.9"},
         {"0", "1", "0.0", "-0.5", "1.0"}});
  check({R"({"type": "number", "maximum": -2})", {"-2", "-2.5", "-30"}, {"-1.9", "0", "2"}});
}

TEST(JsonSchema, NumbersInARangeAgainstArithmetic) {
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    const int low = static_cast<int>(random() % 41) - 20;
    const int high = low + static_cast<int>(random() % 15);
    const bool low_open = random() % 2 == 0;
    const bool high_open = random() % 2 == 0;
    if (low == high && (low_open || high_open)) continue;
    const Json schema = {{"type", "number"},
                         {low_open ? "exclusiveMinimum" : "minimum", low},
                         {high_open ? "exclusiveMaximum" : "maximum", high}};
    const Rules rules = read_json_schema(schema);
    for (int tenths = -250; tenths <= 250; tenths += 1 + static_cast<int>(random() % 4)) {
      const double value = tenths / 10.0;
      const bool inside = (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
      std::string text =
          std::to_string(std::abs(tenths) / 10) + (tenths % 10 == 0 ? "" : "." + std::to_string(std::abs(tenths) % 10));
      if (tenths < 0) text.insert(0, "-");
      ASSERT_EQ(matches(rules, text, "s"), inside) << text << " by " << schema.dump();
    }
  }
}

/// What lies closest to a bound is still on its side when a reader takes it as a double.
TEST(JsonSchema, NumbersNearABoundAreReadOnItsSide) {
  check({R"({"type": "number", "exclusiveMaximum": 2})",
         {"1.999999999"},
         {"1.99999999999999999999", "2.0", "1.9999999999"}});
  check({R"({"type": "number", "exclusiveMaximum": 1000000000000000})",
         {"999999999999999.9"},
         {"999999999999999.99", "999999999999999.999999"}});
  check({R"({"type": "number", "exclusiveMinimum": 0})",
         {"0.000000001", "123456789012345.5"},
         {"0.0000000000000000001", "1000000000000000000000"}});
}

TEST(JsonSchema, Arrays) {
  check({R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
         {"[1]", "[1, 2,3]", "[ 1 ]"},
         {"[]", "[1,2,3,4]", "[true]", "[1,]"}});
  check({R"({"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": false})",
         {"[]", "[null]", "[null,true]"},
         {"[true]", "[null,true,1]"}});
  check(
      {R"({"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
       {"[null,1]", "[null,1,2]"},
       {"[null]", "[1,2]", "[null,1,2,3]"}});
  check({R"({"type": "array", "maxItems": 0})", {"[]", "[ ]"}, {"[1]"}});
}

TEST(JsonSchema, Objects) {
  const char* strict = R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": true},
                           "required": ["b"], "additionalProperties": false})";
  check({strict,
         {R"({"b":null})", R"({"a": 1, "b": null})", R"({"a":1,"b":null,"c":[]})", R"({"b":null,"c":2})"},
         {R"({})", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,"d":1})", R"({"b":null,})", R"({"b":1})"}});
  check(
      {R"({"type": "object", "properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}})",
       {R"({"ab":1,"a":true,"abc":false,"":true,"ax":true})", R"({"b":true})"},
       {R"({"ab":true})", R"({"a":true,"ab":true})", R"({"abc":1})"}});
  check({R"({"type": "object", "required": ["x"]})", {R"({"x":1})", R"({"x":1,"y":2})"}, {"{}", R"({"y":2})"}});
  check({R"({"properties": {"a": false}, "type": "object"})", {"{}", R"({"b":1})"}, {R"({"a":1})"}});
  check({R"({"type": "object", "properties": {"\"é\n": {"const": 1}}, "additionalProperties": false})",
         {R"({"\"é\n":1})"},
         {R"({"é":1})"}});
}

TEST(JsonSchema, Values) {
  check(
      {R"({"enum": ["a\"b", 1, null, {"k": [1, 2]}]})", {R"("a\"b")", "1", "null", R"({"k": [1,2]})"}, {"2", "\"a\""}});
  check({R"({"type": "string", "enum": ["a", 1]})", {"\"a\""}, {"1"}});
  check({R"({"const": "x"})", {"\"x\""}, {"x", "\"xx\""}});
}

TEST(JsonSchema, Combinations) {
  check({R"({"anyOf": [{"type": "integer"}, {"type": "string"}]})", {"1", "\"a\""}, {"null", "1.5"}});
  check({R"({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 2}]})", {"1", "10"}, {"5", "\"a\""}});
  check({R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", "\"a\""}, {"null"}});
  check(
      {R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind", "n"]},
                       {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})",
       {R"({"kind":"a","n":1})", R"({"kind":"b"})"},
       {R"({"kind":"a"})", R"({"kind":"c"})"}});
  check({R"({"allOf": [{"type": "object", "properties": {"a": {"minimum": 3}}, "required": ["a"]},
                       {"properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "additionalProperties": false}]})",
         {R"({"a":3})", R"({"a":4,"b":null})"},
         {R"({"a":2})", R"({"b":null})", R"({"a":3,"c":1})", R"({"a":"x"})"}});
  check({R"({"allOf": [{"type": ["integer", "null"]}, {"type": ["number", "string"]}]})",
         {"3"},
         {"null", "1.5", "\"a\""}});
  check({R"({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}], "anyOf": [{"const": 2}, {"const": 4}]})",
         {"2"},
         {"3", "4"}});
}

TEST(JsonSchema, References) {
  check({R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})", {"1"}, {"null"}});
  check({R"({"$defs": {"a/b": {"type": "null"}, "c%": {"type": "boolean"}}, "type": "array",
             "prefixItems": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/c%25"}], "items": false})",
         {"[null,true]"},
         {"[true]"}});
  const char* tree =
      R"({"type": "object", "properties": {"v": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
                         "required": ["v"], "additionalProperties": false})";
  check({tree,
         {R"({"v":1,"children":[{"v":2},{"v":3,"children":[]}]})"},
         {R"({"v":1,"children":[{}]})", R"({"v":1,"children":[1]})"}});
  check({R"({"$defs": {"p": {"type": "object", "properties": {"next": {"$ref": "#/$defs/p"}}}},
             "$ref": "#/$defs/p", "required": ["next"]})",
         {R"({"next":{}})", R"({"next":{"next":{}}})"},
         {"{}", R"({"next":1})"}});
}

TEST(JsonSchema, ManyOptionalPropertiesAreNoBurden) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
  for (int i = 0; i < 400; ++i) schema["properties"]["key" + std::to_string(i)] = {{"type", "integer"}, {"maximum", i}};
  const Rules rules = read_json_schema(schema);
  EXPECT_TRUE(matches(rules, R"({"key3":2,"key399":-5})", "s"));
  EXPECT_FALSE(matches(rules, R"({"key399":1,"key3":2})", "s"));
}

// ---- what is written under a mask is valid

TEST(JsonSchema, RandomWalksSatisfyTheirSchema) {
  const std::vector<const char*> schemas = {
      R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array",
          "items": {"type": "string"}}, "kind": {"enum": ["a", "b", null]}}, "required": ["name", "kind"], "additionalProperties": false})",
      R"({"type": "array", "items": {"type": ["number", "boolean"]}})",
      R"({"type": "object", "properties": {"x": {"type": "object", "properties": {"y": {"const": 3}}, "required": ["y"]}}, "required": ["x"]})"};
  const Tokenizer tokenizer = Tokenizer::load(PROSA_TEST_DATA "/tiny-chat");
  const auto trie = std::make_shared<const TokenTrie>(tokenizer, 512);
  std::mt19937 random(11);
  for (const char* text : schemas) {
    const Json schema = Json::parse(text);
    eval::check_schema(schema, "test");
    constexpr int32_t kEnd = 509;
    const auto constraint =
        std::make_shared<Constraint>(read_json_schema(schema), trie, std::vector<int32_t>{kEnd}, "test");
    int finished = 0;
    for (int round = 0; round < 60; ++round) {
      Matcher matcher(constraint);
      for (int step = 0; step < 300; ++step) {
        const std::span<const uint32_t> mask = matcher.mask();
        const auto allowed = [&](int32_t id) { return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1U) != 0; };
        if (allowed(kEnd)) {
          const Json value = Json::parse(matcher.text());
          EXPECT_EQ(eval::schema_violation(value, schema), "") << matcher.text();
          ++finished;
          break;
        }
        // What closes comes first half of the time, so that texts come to an end.
        std::vector<int32_t> choices;
        for (int32_t id = 0; id < 512; ++id) {
          if (!allowed(id)) continue;
          const std::string_view bytes = tokenizer.token_bytes(id);
          if (random() % 3 == 0 && (bytes == "\"" || bytes == "}" || bytes == "]")) choices.assign(64, id);
          choices.push_back(id);
        }
        ASSERT_FALSE(choices.empty()) << matcher.text();
        ASSERT_TRUE(matcher.accept(tokenizer.token_bytes(choices[random() % choices.size()])));
      }
    }
    EXPECT_GT(finished, 20) << text;
  }
}

// ---- refusals

TEST(JsonSchema, WhatCannotBeHonouredIsRefusedByItsPath) {
  const auto refused = [](const char* schema, ErrorCode code, const char* where) {
    try {
      read_json_schema_text(schema);
      ADD_FAILURE() << schema << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_EQ(error.where(), where) << error.what();
    }
  };
  constexpr ErrorCode kNot = ErrorCode::unsupported;
  constexpr ErrorCode kWrong = ErrorCode::invalid_argument;
  refused(R"({"not": {}})", kNot, "schema/not");
  refused(R"({"properties": {"a": {"multipleOf": 3}}})", kNot, "schema/properties/a/multipleOf");
  refused(R"({"items": {"if": true}})", kNot, "schema/items/if");
  refused(R"({"uniqueItems": true})", kNot, "schema/uniqueItems");
  refused(R"({"patternProperties": {"a": {}}})", kNot, "schema/patternProperties");
  refused(R"({"minProperties": 1})", kNot, "schema/minProperties");
  refused(R"({"maxProperties": 1})", kNot, "schema/maxProperties");
  refused(R"({"typo": 1})", kNot, "schema/typo");
  refused(R"({"format": "regex"})", kNot, "schema/format");
  refused(R"s({"pattern": "(?=a)"})s", kNot, "schema/pattern");
  refused(R"({"pattern": "a", "minLength": 3})", kNot, "schema");
  refused(R"({"type": "number", "minimum": 0.5})", kNot, "schema/minimum");
  refused(R"({"enum": ["a"], "minLength": 2})", kNot, "schema/minLength");
  refused(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", kNot, "schema/oneOf");
  refused(R"({"oneOf": [{"type": "object"}, {"type": "object", "required": ["a"]}]})", kNot, "schema/oneOf");
  refused(R"({"$ref": "other.json"})", kNot, "schema/$ref");
  refused(R"({"items": {"$id": "http://x"}})", kNot, "schema/items/$id");
  refused((R"({"type": "object", "required": [")" + std::string(2000, 'a') + "\"]}").c_str(), kNot, "schema");
  refused(R"({"maxLength": 1000000})", kNot, "schema/maxLength");
  refused(R"({"type": "thing"})", kWrong, "schema/type");
  refused(R"({"type": []})", kWrong, "schema/type");
  refused(R"({"required": "a"})", kWrong, "schema/required");
  refused(R"({"properties": []})", kWrong, "schema/properties");
  refused(R"({"properties": {"a": 1}})", kWrong, "schema/properties/a");
  refused(R"({"anyOf": []})", kWrong, "schema/anyOf");
  refused(R"({"$ref": "#/nowhere"})", kWrong, "schema/$ref");
  refused(R"({"minLength": -1})", kWrong, "schema/minLength");
  refused(R"({"minimum": "a"})", kWrong, "schema/minimum");
  refused("[]", kWrong, "schema");
  refused("{", kWrong, "schema");
}

TEST(JsonSchema, HostileSchemasEndInAnError) {
  const auto code_of = [](const std::string& schema) -> std::optional<ErrorCode> {
    try {
      Network(read_json_schema_text(schema), "schema");
    } catch (const Error& error) {
      return error.code();
    }
    return std::nullopt;
  };
  EXPECT_EQ(code_of(R"({"$ref": "#"})"), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(R"({"allOf": [{"$ref": "#"}]})"), ErrorCode::unsupported);
  EXPECT_EQ(code_of("false"), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
            ErrorCode::invalid_argument)
      << "never ends";
  std::string wide = R"({"allOf": [)";
  for (int i = 0; i < 12; ++i)
    wide += std::string(i > 0 ? "," : "") + R"({"anyOf": [{"minLength": 1}, {"minItems": 1}, {"minimum": 1}]})";
  EXPECT_EQ(code_of(wide + "]}"), ErrorCode::unsupported) << "three to the twelfth alternatives";
  EXPECT_EQ(
      code_of(
          R"({"type": "array", "items": {"type": "array", "items": {"type": "string", "maxLength": 9000}, "maxItems": 9000}, "maxItems": 9000})"),
      ErrorCode::unsupported);
  std::string chain = R"({"$ref": "#/$defs/d0", "$defs": {)";
  for (int i = 0; i < 6000; ++i)
    chain += "\"d" + std::to_string(i) + R"(": {"items": {"$ref": "#/$defs/d)" + std::to_string(i + 1) + "\"}},";
  EXPECT_EQ(code_of(chain + R"("d6000": true}})"), ErrorCode::unsupported) << "too many, however deep";
  EXPECT_EQ(code_of(R"({"$defs": {"a": {"properties": {"c": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/x"}]}}},
                         "x": {"properties": {"c": {"$ref": "#/$defs/x"}}}}, "$ref": "#/$defs/a"})"),
            ErrorCode::unsupported)
      << "grows without end";
}

}  // namespace
}  // namespace prosa::grammar
