// The reader for JSON from outside: agrees with the library's own on valid text, and is bounded on everything else.
#include "base/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "test_files.h"

namespace prosa {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using test::expect_error;

const JsonSource kSource{"the place", ErrorCode::bad_checkpoint, "the remedy"};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// `count` times `item`, in brackets.
std::string many(size_t count, const std::function<std::string(size_t)>& item, char open = '[', char close = ']') {
  std::string text(1, open);
  for (size_t i = 0; i < count; ++i) text += (i > 0 ? "," : "") + item(i);
  return text + close;
}

TEST(Json, AgreesWithTheLibraryOnValidText) {
  for (const std::string text :
       {"null", "true", "-0", "0", "18446744073709551615", "-9223372036854775808", "1e300", "0.1", "\"\"",
        R"("\u00e9\ud83d\ude00\n\"")", "[]", "{}", "[[],{},[{}]]", R"({"b":1,"a":[1,2.5,null],"c":{"z":"","y":false}})",
        " {\"a\" : [ 1 , 2 ] }\n", R"({"":1})"}) {
    EXPECT_EQ(parse_json(text, kSource), json::parse(text)) << text;
    const ordered_json ordered = parse_ordered_json(text, kSource);
    EXPECT_EQ(ordered, ordered_json::parse(text)) << text;
    EXPECT_EQ(ordered.dump(), ordered_json::parse(text).dump()) << "the order of keys";
  }
}

TEST(Json, TheLastOfEqualKeysCountsAndTheOrderIsThatOfTheFirst) {
  for (const size_t others : {0U, 3U, 7U, 8U, 9U, 40U}) {
    std::string text = "{\"twice\":{\"old\":1}";
    for (size_t i = 0; i < others; ++i) text += ",\"k" + std::to_string(i) + "\":" + std::to_string(i);
    text += ",\"twice\":2}";
    EXPECT_EQ(parse_json(text, kSource), json::parse(text));
    EXPECT_EQ(parse_ordered_json(text, kSource).dump(), ordered_json::parse(text).dump());
    expect_error(ErrorCode::bad_checkpoint, {"the place", "'twice' stands twice", "the remedy"},
                 [&] { parse_json(text, kSource, {.unique_keys = true}); });
    expect_error(ErrorCode::bad_checkpoint, {"'twice' stands twice"},
                 [&] { parse_ordered_json(text, kSource, {.unique_keys = true}); });
  }
  EXPECT_NO_THROW(parse_json(R"([{"a":1},{"a":{"a":1}}])", kSource, {.unique_keys = true}));
}

TEST(Json, NamesThePlaceOfWhatIsWrong) {
  for (const std::string text : {"", " ", "{", "[1,]", "{\"a\"}", "nul", "1 2", "{} x", "\"\x80\"", "\"\xc0\x80\"",
                                 "'a'", "[1e999]", "01", "\"\\ud800\"", "\"a\nb\""}) {
    expect_error(ErrorCode::bad_checkpoint, {"the place", "not valid JSON", "byte", "the remedy"},
                 [&] { parse_json(text, kSource); });
    expect_error(ErrorCode::bad_checkpoint, {"not valid JSON"}, [&] { parse_ordered_json(text, kSource); });
  }
  expect_error(ErrorCode::bad_checkpoint, {"byte 5"}, [] { parse_json("[1, x]", kSource); });
  expect_error(ErrorCode::bad_checkpoint, {"zero byte", "byte 2"},
               [] { parse_json(std::string_view("{}\0garbage", 10), kSource); });
}

TEST(Json, IsBoundedInDepthBytesAndValues) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NO_THROW(parse_json(nested(64), kSource));
  expect_error(ErrorCode::bad_checkpoint, {"deeper than 64"}, [&] { parse_json(nested(65), kSource); });
  expect_error(ErrorCode::bad_checkpoint, {"deeper than 64"},
               [&] { parse_json(std::string(10'000'000, '['), kSource); });
  expect_error(ErrorCode::bad_checkpoint, {"deeper than 3"},
               [&] { parse_ordered_json(R"({"a":{"a":{"a":{}}}})", kSource, {.max_depth = 3}); });
  expect_error(ErrorCode::bad_checkpoint, {"more than 9 bytes"},
               [&] { parse_json("[1,2,3,4,5]", kSource, {.max_bytes = 9}); });
  EXPECT_NO_THROW(parse_json("[1,2,3]", kSource, {.max_entries = 4}));
  expect_error(ErrorCode::bad_checkpoint, {"more than 3 values"},
               [&] { parse_json("[1,2,3]", kSource, {.max_entries = 3}); });
}

TEST(Json, WideArraysAndObjectsTakeLinearTime) {
  const auto empty_object = [](size_t) { return std::string("{}"); };
  const auto member = [](size_t i) { return "\"" + std::to_string(i) + "\":{}"; };
  for (const std::string& text : {many(60'000, empty_object), many(60'000, member, '{', '}')}) {
    EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_json(text, kSource).size(), 60'000U); }), 1);
    EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_ordered_json(text, kSource).size(), 60'000U); }), 1);
  }
}

TEST(Json, WhatStandsDeepInsideIsNotCopiedForEveryObjectAroundIt) {
  constexpr size_t kDepth = 190;
  std::string text = many(200'000, [](size_t) { return std::string("{}"); });
  for (size_t i = 0; i < kDepth; ++i) text = "{\"a\":" + text + ",\"b\":0,\"c\":0}";
  const JsonLimits limits{.max_depth = 200};
  // Copied once a level, these are 38 million objects.
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_ordered_json(text, kSource, limits).size(), 3U); }), 3);
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_json(text, kSource, limits).size(), 3U); }), 3);
}

TEST(Json, AMessageQuotesLittleOfTheText) {
  const std::string text = "[1, \"" + std::string(1'000'000, 'x');
  try {
    parse_json(text, kSource);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 500U);
  }
}

TEST(Json, ReadsFiles) {
  const TempFolder folder;
  const auto path = folder.path() / "x.json";
  test::write_bytes(path, "{\"a\": 1}");
  EXPECT_EQ(read_json_file(path, ErrorCode::bad_template).at("a"), 1);
  test::write_bytes(path, "{");
  expect_error(ErrorCode::bad_template, {path.string(), "byte", "again"},
               [&] { read_json_file(path, ErrorCode::bad_template, {}, "again"); });
  expect_error(ErrorCode::bad_template, {path.string(), "0 bytes"},
               [&] { read_json_file(path, ErrorCode::bad_template, {.max_bytes = 0}); });
  expect_error(ErrorCode::not_found, {"none"}, [&] { read_json_file(folder.path() / "none", ErrorCode::io); });
}

}  // namespace
}  // namespace prosa
