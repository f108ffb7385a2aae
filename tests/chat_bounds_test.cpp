// What a chat does with messages, tools, replies and data files takes time in proportion to their size, whatever they
// hold, and drop_oldest leaves out what its definition says.
//
// The time limits are ten times and more what is needed; what they guard against takes minutes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "chat/channels.h"
#include "chat/message_json.h"
#include "chat/prompt_plan.h"
#include "chat/tool_calls.h"
#include "test_files.h"
#include "tokenizer/tokenizer.h"
#include "tools/eval/json_schema.h"
#include "tools/eval/strict_json.h"

namespace prosa {
namespace {

using chat::Forgetting;
using chat::PromptPlan;
using chat::ThinkingDefault;
using nlohmann::ordered_json;

constexpr double kLimit = 5;  // seconds

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// item(0) item(1) … to about a megabyte.
std::string megabyte(const std::function<std::string(size_t)>& item) {
  std::string text;
  for (size_t i = 0; text.size() < 1'000'000; ++i) text += item(i);
  return text;
}
std::string key(size_t i) { return "\"" + std::to_string(i) + "\""; }

const Tokenizer& tokenizer() {
  static const Tokenizer tiny = Tokenizer::load(PROSA_TINY_CHAT);
  return tiny;
}

// ---- conversations that are too long

/// By the definition: the first turn, oldest first, from which on the prompt takes half of the context.
int64_t dropped_by_definition(const std::vector<Message>& messages, int64_t capacity) {
  const size_t first = !messages.empty() && messages.front().role == Role::system ? 1 : 0;
  int64_t dropped = 0;
  for (size_t begin = first; begin < messages.size(); ++begin) {
    if (begin > first && messages[begin].role != Role::user) continue;
    std::vector<Message> kept(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(first));
    kept.insert(kept.end(), messages.begin() + static_cast<std::ptrdiff_t>(begin), messages.end());
    const PromptPlan plan = chat::plan_prompt(tokenizer(), ThinkingDefault::off, kept, {}, {});
    const auto tokens = static_cast<int64_t>(plan.tokens.size());
    dropped = static_cast<int64_t>(begin - first);
    if (tokens <= (begin == first ? capacity - capacity / 4 : capacity / 2)) break;
  }
  return dropped;
}

TEST(DropOldest, LeavesOutWhatTheDefinitionSays) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<Message> messages;
    if (round % 2 == 0) messages.push_back({Role::system, "Be kind."});
    const size_t turns = 1 + random() % 12;
    for (size_t turn = 0; turn < turns; ++turn) {
      messages.push_back({Role::user, std::string(1 + random() % 30, 'q')});
      for (size_t i = random() % 4; i-- > 0;) {
        messages.push_back({i % 2 == 0 ? Role::assistant : Role::tool, std::string(1 + random() % 60, 'a')});
      }
    }
    messages.push_back({Role::user, "end"});
    const int64_t capacity = 150 + static_cast<int64_t>(random() % 800);
    Forgetting forgetting;
    const PromptPlan plan = forgetting.plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, capacity);
    EXPECT_EQ(plan.dropped_messages, dropped_by_definition(messages, capacity)) << "round " << round;
    // What was left out stays out.
    const PromptPlan again = forgetting.plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, capacity);
    EXPECT_EQ(again.dropped_messages, plan.dropped_messages);
    EXPECT_EQ(again.tokens, plan.tokens);
  }
}

TEST(DropOldest, TheLastQuestionIsNeverLeftOut) {
  const std::string answer = "<tool_response>" + std::string(100, 'x') + "</tool_response>";
  const std::vector<Message> messages = {
      {Role::user, "One"}, {Role::assistant, "Yes"}, {Role::user, "Two"}, {Role::user, answer}, {Role::user, answer}};
  test::expect_error(ErrorCode::context_exceeded, {"the context holds 100"},
                     [&] { Forgetting().plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, 100); });
  const PromptPlan plan = Forgetting().plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, 300);
  EXPECT_EQ(plan.dropped_messages, 2);
}

TEST(DropOldest, TakesTimeInProportionToTheConversation) {
  std::vector<Message> messages;
  for (int i = 0; i < 16'000; ++i) {
    messages.push_back({i % 2 == 0 ? Role::user : Role::assistant, "some words here " + std::to_string(i)});
  }
  messages.push_back({Role::user, "end"});
  Forgetting forgetting;
  EXPECT_LT(seconds_of([&] {
              EXPECT_GT(forgetting.plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, 512).dropped_messages,
                        15'900);
            }),
            kLimit);
  messages = {{Role::user, "x"}};
  for (int i = 0; i < 50'000; ++i) messages.push_back({Role::tool, "tool"});
  EXPECT_LT(seconds_of([&] {
              test::expect_error(ErrorCode::context_exceeded, {"512"},
                                 [&] { forgetting.plan(tokenizer(), ThinkingDefault::off, messages, {}, {}, 512); });
            }),
            kLimit);
}

// ---- calls

size_t calls_in(const chat::ToolCallParser& parser, const std::string& block) {
  const auto result = parser.parse(block);
  const auto* calls = std::get_if<std::vector<ToolCall>>(&result);
  return calls == nullptr ? 0 : calls->size();
}

TEST(ToolCallTime, IsLinearInTheBlock) {
  const chat::ToolCallParser parser;
  const std::string parameters =
      megabyte([](size_t i) { return "<parameter=" + std::to_string(i) + ">\n1\n</parameter>\n"; });
  const std::string members = megabyte([](size_t i) { return key(i) + ":{},"; });
  const std::string objects = megabyte([](size_t) { return std::string("{},"); });
  const std::string calls = megabyte([](size_t) { return std::string("{\"name\":\"f\"},"); });
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(calls_in(parser, "<function=f>\n" + parameters + "</function>"), 1U); }),
            kLimit);
  EXPECT_LT(seconds_of([&] {
              EXPECT_EQ(calls_in(parser, R"({"name":"f","arguments":{)" + members + "\"x\":[" + objects + "{}]}}"), 1U);
            }),
            kLimit);
  EXPECT_LT(seconds_of([&] { EXPECT_GT(calls_in(parser, "[" + calls + "{\"name\":\"g\"}]"), 70'000U); }), kLimit);
}

TEST(ToolCallTime, IsLinearWhateverTheToolsAre) {
  // As many tools, and as many properties, as fit into a megabyte, and a call that names the last of them again and
  // again; each property leads through a reference into an object that is as wide.
  std::vector<Tool> tools;
  for (int i = 0; i < 20'000; ++i) tools.push_back({"{\"name\":\"f" + std::to_string(i) + "\"}"});
  const std::string properties = megabyte([](size_t i) { return key(i) + ":{\"$ref\":\"#/$defs/99999\"},"; });
  const std::string definitions = megabyte([](size_t i) { return key(i) + ":{\"type\":\"integer\"},"; });
  tools.push_back({R"({"name":"wide","parameters":{"properties":{)" + properties +
                   R"("last":{"type":"integer"}},"$defs":{)" + definitions + "\"x\":0}}}"});
  const chat::ToolCallParser parser(tools);
  const std::string calls = megabyte([](size_t) { return std::string("<function=f19999></function>"); });
  EXPECT_LT(seconds_of([&] { EXPECT_GT(calls_in(parser, calls), 30'000U); }), kLimit);
  std::string block = "<function=wide>\n";
  for (int i = 0; i < 20'000; ++i) block += "<parameter=" + std::to_string(i) + ">\n1\n</parameter>\n";
  block += "<parameter=last>\n1\n</parameter>\n</function>";
  EXPECT_LT(seconds_of([&] {
              const auto result = parser.parse(block);
              const auto& found = std::get<std::vector<ToolCall>>(result);
              EXPECT_THAT(found.at(0).arguments, testing::EndsWith("\"last\": 1}"));
            }),
            kLimit);
}

TEST(ToolCallTime, ReferencesInACircleEnd) {
  std::vector<Tool> tools = {{R"({"name":"f","parameters":{"properties":{"a":{"$ref":"#/$defs/a"}},
      "$defs":{"a":{"$ref":"#/$defs/b","type":"integer"},"b":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}]}}}})"}};
  const auto result = chat::ToolCallParser(tools).parse("<function=f>\n<parameter=a>\n1\n</parameter>\n</function>");
  EXPECT_EQ(std::get<std::vector<ToolCall>>(result).at(0).arguments, "{\"a\": 1}");
}

TEST(ToolCallTime, OfEqualParametersTheLastCountsInThePlaceOfTheFirst) {
  const auto result = chat::ToolCallParser().parse(
      "<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n</parameter>\n<parameter=a>\n3\n</parameter>\n"
      "</function>");
  EXPECT_EQ(std::get<std::vector<ToolCall>>(result).at(0).arguments, R"({"a": "3", "b": "2"})");
}

TEST(ChannelTime, ManyTagsInOnePieceAreReadInLinearTime) {
  chat::ChannelSplitter splitter({}, Channel::speech);  // no tag has an id: all are looked for in the text
  std::vector<Piece> pieces;
  const std::string text = megabyte([](size_t) { return std::string("<think></think>"); });
  EXPECT_LT(seconds_of([&] {
              for (int i = 0; i < 10; ++i) splitter.push(1, text, pieces);
              splitter.finish(pieces);
            }),
            kLimit);
  EXPECT_TRUE(pieces.empty());
}

// ---- messages and strict JSON

TEST(MessageTime, IsLinearInTheMessages) {
  const std::string messages = megabyte([](size_t) { return std::string(R"({"role":"user","content":"x"},)"); });
  const std::string keys = megabyte([](size_t i) { return key(i) + ":0,"; });
  EXPECT_LT(seconds_of([&] {
              const ordered_json list = chat::parse_json("[" + messages + R"({"role":"user","content":"y"}])", "m");
              EXPECT_GT(chat::messages_from_json(list).size(), 30'000U);
            }),
            kLimit);
  EXPECT_LT(seconds_of([&] {
              const ordered_json list = chat::parse_json("[{" + keys + R"("role":"user","content":"y"}])", "m");
              EXPECT_EQ(chat::messages_from_json(list).size(), 1U);
            }),
            kLimit);
}

TEST(StrictJsonTime, IsLinearInTheReply) {
  const std::string reply = "{" + megabyte([](size_t i) { return key(i) + ":0,"; }) + "\"x\":0}";
  eval::JsonPrompt prompt;
  prompt.keys.emplace();
  ordered_json schema = {{"type", "object"}, {"additionalProperties", false}};
  std::vector<std::pair<const std::string, ordered_json>> properties;
  ordered_json required = ordered_json::array();
  const ordered_json parsed = chat::parse_json(reply, "reply");
  for (const auto& [name, value] : parsed.items()) {
    prompt.keys->push_back(name);
    required.push_back(name);
    properties.emplace_back(name, ordered_json{{"type", "integer"}});
  }
  schema["required"] = required;
  schema["properties"] = ordered_json(ordered_json::object_t(properties.begin(), properties.end()));
  prompt.schema = std::move(schema);
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(eval::why_not_strict(reply, prompt), ""); }), kLimit);
}

TEST(StrictJsonTime, APlaceIsPutTogetherOnlyForAnError) {
  const std::string name(100'000, 'k');
  const ordered_json schema = {{"properties", {{name, {{"items", {{"type", "integer"}}}}}}}};
  std::string reply = "{\"" + name + "\":[0";
  for (int i = 0; i < 100'000; ++i) reply += ",0";
  reply += "]}";
  const ordered_json value = chat::parse_json(reply, "reply");
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(eval::schema_violation(value, schema), ""); }), kLimit);
  EXPECT_EQ(eval::schema_violation(chat::parse_json(R"({"a":[{"b":[0,"x"]}]})", "reply"),
                                   chat::parse_json(R"({"properties":{"a":{"items":{"properties":{"b":{"items":
                                                       {"type":"integer"}}}}}}})",
                                                    "schema")),
            "a[0].b[1]: not of type \"integer\"");
}

TEST(StrictJsonTime, ListsOfASchemaAreShort) {
  ordered_json values = ordered_json::array();
  for (int i = 0; i < 5000; ++i) values.push_back(i);
  test::expect_error(ErrorCode::invalid_argument, {"5000 values", "4096"}, [&] {
    eval::check_schema({{"enum", values}}, "F");
  });
  const ordered_json types(std::vector<std::string>(8, "string"));
  test::expect_error(ErrorCode::invalid_argument, {"8 types"}, [&] { eval::check_schema({{"type", types}}, "F"); });
}

}  // namespace
}  // namespace prosa
