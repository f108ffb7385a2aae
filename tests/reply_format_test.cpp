// Replies that are held to a format or to tools: with a backend whose logits are a hash of what was fed, so that
// nothing but the masks leads the reply; with a scripted one for what the reply may not do; and on the tiny golden
// model for equal text on every way to compute it.
#include "prosa/reply_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "chat/engine.h"
#include "chat/reply_run.h"
#include "fake_backend.h"
#include "prosa/chat.h"
#include "scripted_engine.h"
#include "tools/eval/json_schema.h"

namespace prosa {
namespace {

using test::FakeBackend;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using Json = nlohmann::ordered_json;
using Messages = std::vector<Message>;

std::optional<Error> error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

Messages hello() { return {{Role::user, "Hello"}}; }

SamplingConfig plain(ReplyFormat format = {}) {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1;
  config.disable_thinking = true;
  config.max_tokens = 400;
  config.format = std::move(format);
  return config;
}

struct Outcome {
  std::string text, thought;
  std::vector<ToolCall> calls;
  ReplyStats stats;
};

Outcome drain(chat::ReplyRun& run) {
  Outcome outcome;
  while (std::optional<Piece> piece = run.next()) {
    if (piece->channel == Channel::speech) outcome.text += piece->text;
    if (piece->channel == Channel::thought) outcome.thought += piece->text;
    if (piece->call) outcome.calls.push_back(*piece->call);
  }
  outcome.stats = run.stats();
  return outcome;
}

const std::vector<Tool>& tools() {
  static const std::vector<Tool> list = {
      {R"({"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
           "city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 9},
           "unit": {"enum": ["C", "F"]}, "when": {"anyOf": [{"type": "string", "maxLength": 8}, {"type": "null"}]}},
           "required": ["city", "days"], "additionalProperties": false}}})"},
      {R"({"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}})"}};
  return list;
}

/// Of the tools' schemas, by the reader of the evaluation.
std::string violation(const ToolCall& call) {
  const Json arguments = Json::parse(call.arguments);
  if (call.name == "stop") return arguments.empty() ? "" : "arguments of stop";
  if (call.name != "get_weather") return "no tool: " + call.name;
  const Json schema = Json::parse(R"({"type": "object", "properties": {"city": {"type": "string"}, "days": {"enum":
      [1, 2, 3, 4, 5, 6, 7, 8, 9]}, "unit": {"enum": ["C", "F"]}, "when": {"type": ["string", "null"]}},
      "required": ["city", "days"], "additionalProperties": false})");
  return eval::schema_violation(arguments, schema);
}

class ReplyFormats : public testing::Test {
 protected:
  void SetUp() override { make(4000); }
  void make(int64_t context) {
    backend = std::make_shared<FakeBackend>(512);
    engine = test::scripted_engine(backend, context);
  }
  const Tokenizer& tokenizer() { return engine->loaded()->text->tokenizer; }

  Outcome play(const SamplingConfig& sampling, const std::vector<Tool>& offered = {}, std::string_view guess = {},
               const Messages& messages = hello()) {
    chat::ReplyRun run(engine, messages, sampling, offered, guess);
    return drain(run);
  }
  /// What the model would write if it might, from the end of the prompt on.
  Outcome play_script(const std::string& script, const SamplingConfig& sampling,
                      const std::vector<Tool>& offered = {}) {
    engine->reset_state();  // what was computed by another script is not asked again
    chat::ReplyRun run(engine, hello(), sampling, offered);
    const auto prompt = static_cast<size_t>(run.stats().prompt_tokens);
    const int32_t end = *tokenizer().token_id("<|im_end|>");
    backend->script = [prompt, end, tokens = tokenizer().encode(script)](std::span<const int32_t> fed) {
      const size_t at = fed.size() - prompt;
      return at < tokens.size() ? tokens[at] : end;
    };
    Outcome outcome = drain(run);
    backend->script = nullptr;
    return outcome;
  }

  std::shared_ptr<FakeBackend> backend;
  std::shared_ptr<chat::Engine> engine;
};

// ---- the answer

TEST_F(ReplyFormats, RandomSchemasAtEveryTemperatureGiveWhatTheySay) {
  std::mt19937 random(7);
  const auto pick = [&](size_t below) { return random() % below; };
  const std::function<Json(int)> schema_of = [&](int depth) -> Json {
    switch (pick(depth > 0 ? 7 : 5)) {
      case 0: return {{"type", "integer"}};
      case 1: return {{"type", "boolean"}};
      case 2: return {{"enum", {"red", "gr\"ün", 3, nullptr}}};
      case 3: return {{"const", {{"a", Json::array({1, "x"})}}}};
      case 4: return {{"type", Json::array({"null", "boolean"})}};
      case 5: {
        Json object = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
        for (const char* name : {"id", "näme", "tags"}) {
          object["properties"][name] = schema_of(depth - 1);
          if (pick(2) == 0) object["required"].push_back(name);
        }
        object["additionalProperties"] = false;
        return object;
      }
      default: return {{"type", "array"}, {"items", schema_of(depth - 1)}};
    }
  };
  int whole = 0;
  for (int round = 0; round < 60; ++round) {
    const Json schema = schema_of(3);
    SamplingConfig sampling = plain(ReplyFormat::json_schema(schema.dump()));
    sampling.temperature = static_cast<float>(round % 5) * 0.5F;
    sampling.top_k = round % 3 == 0 ? 0 : 50;
    sampling.seed = 1000 + static_cast<uint64_t>(round);
    sampling.frequency_penalty = round % 2 == 0 ? 0.0F : 1.5F;
    const Outcome outcome = play(sampling);
    if (outcome.stats.finish != FinishReason::stop) {
      EXPECT_EQ(outcome.stats.finish, FinishReason::length);
      continue;
    }
    ++whole;
    ASSERT_TRUE(Json::accept(outcome.text)) << outcome.text;
    EXPECT_EQ(eval::schema_violation(Json::parse(outcome.text), schema), "") << outcome.text << " by " << schema.dump();
  }
  EXPECT_GT(whole, 30);
}

TEST_F(ReplyFormats, AJsonObjectIsOne) {
  SamplingConfig sampling = plain(ReplyFormat::json_object());
  const Outcome outcome = play_script("Sure! {\"a\": [1, true], \"b\": {}}", sampling);
  ASSERT_TRUE(outcome.text.starts_with('{')) << outcome.text;
  const Outcome good = play_script("{\"a\": [1, true], \"b\": {}}", sampling);
  EXPECT_EQ(good.text, "{\"a\": [1, true], \"b\": {}}");
  EXPECT_EQ(good.stats.finish, FinishReason::stop);
}

TEST_F(ReplyFormats, TheReplyEndsWhereNothingMayFollow) {
  const auto format = ReplyFormat::regex("turn (on|off) the light");
  const Outcome outcome = play_script("turn off the light and more", plain(format));
  EXPECT_EQ(outcome.text, "turn off the light");
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop);
  // Where something may follow, the model ends it.
  const Outcome open = play_script("abc", plain(ReplyFormat::regex("[a-z]+")));
  EXPECT_EQ(open.text, "abc");
  EXPECT_EQ(open.stats.finish, FinishReason::stop);
}

TEST_F(ReplyFormats, WhatHasToFollowCostsNoStep) {
  const std::string said = "the quick brown fox jumps over the lazy dog and goes home for dinner";
  const Outcome outcome = play(plain(ReplyFormat::regex(said)));
  EXPECT_EQ(outcome.text, said);
  EXPECT_EQ(backend->decodes, 0);
  EXPECT_EQ(outcome.stats.forced_tokens, outcome.stats.generated_tokens);
  const Outcome choice = play(plain(ReplyFormat::regex("(yes|no), I would like to have some more of that")));
  EXPECT_GT(choice.stats.forced_tokens, 10);
  EXPECT_LT(choice.stats.generated_tokens - choice.stats.forced_tokens, 8);
}

TEST_F(ReplyFormats, AGrammarMayBeRecursive) {
  SamplingConfig sampling = plain(ReplyFormat::grammar("root ::= \"(\" root \")\" | \"x\""));
  EXPECT_EQ(play_script("((x))", sampling).text, "((x))");
  EXPECT_EQ(play_script("((x]]", sampling).text, "((x))");
}

TEST_F(ReplyFormats, TheAnswerIsGivenAsItIsBlanksIncluded) {
  EXPECT_EQ(play_script("\n  a <think>b</think> \n", plain(ReplyFormat::regex("\\n  a <think>b</think> \\n"))).text,
            "\n  a <think>b</think> \n");
}

TEST_F(ReplyFormats, LengthInsideIsLengthAndAtTheLastTokenStop) {
  SamplingConfig sampling = plain(ReplyFormat::json_schema(R"({"type": "string"})"));
  sampling.max_tokens = 3;
  const Outcome cut = play_script("\"abcdefghijklmno\"", sampling);
  EXPECT_EQ(cut.stats.finish, FinishReason::length);
  EXPECT_TRUE(cut.text.starts_with("\"ab")) << cut.text;
  sampling = plain(ReplyFormat::regex("yes!"));
  const int64_t tokens = play(sampling).stats.generated_tokens;
  sampling.max_tokens = static_cast<int>(tokens);
  EXPECT_EQ(play(sampling).stats.finish, FinishReason::stop);
  if (tokens > 1) {
    sampling.max_tokens = static_cast<int>(tokens) - 1;
    EXPECT_EQ(play(sampling).stats.finish, FinishReason::length);
  }
}

TEST_F(ReplyFormats, ThoughtsAreFreeAndTheAnswerFollowsThem) {
  SamplingConfig sampling = plain(ReplyFormat::json_schema(R"({"type": "object", "properties": {"a": {"type":
      "integer"}}, "required": ["a"], "additionalProperties": false})"));
  sampling.disable_thinking = false;
  sampling.enable_thinking = true;
  sampling.max_thinking_tokens = 200;
  const Outcome outcome = play_script("Let me <b>see</b>: {</think>\n\n{\"a\":17}", sampling);
  EXPECT_EQ(outcome.thought, "Let me <b>see</b>: {");
  EXPECT_EQ(outcome.text, "{\"a\":17}");
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop);
  // Ending the reply inside the thought, or after it, would be no answer.
  const Outcome stubborn = play_script("Hm.<|im_end|>", sampling);
  EXPECT_TRUE(Json::accept(stubborn.text)) << stubborn.text << stubborn.thought;
  // The budget closes the thought, and the format holds behind it.
  sampling.max_thinking_tokens = 4;
  const Outcome budget = play(sampling);
  EXPECT_TRUE(budget.stats.finish == FinishReason::length || Json::accept(budget.text)) << budget.text;
  EXPECT_TRUE(budget.text.starts_with('{')) << budget.text;
}

TEST_F(ReplyFormats, AGuessChangesNothing) {
  for (const auto& format : {ReplyFormat::regex("(left|right), then (up|down) and on to the end( again)*"),
                             ReplyFormat::json_schema(R"({"type": "object", "properties": {"left": {"type": "boolean"},
                                 "right": {"type": "integer"}}, "required": ["left", "right"]})")}) {
    SamplingConfig sampling = plain(format);
    sampling.temperature = 1.0F;
    sampling.seed = 5;
    const Outcome alone = play(sampling);
    for (const std::string& guess : {alone.text, alone.text.substr(0, alone.text.size() / 2) + "!", std::string("x")}) {
      engine->reset_state();
      const Outcome guessed = play(sampling, {}, guess);
      EXPECT_EQ(guessed.text, alone.text) << "guess " << guess;
      EXPECT_EQ(guessed.stats.finish, alone.stats.finish);
      EXPECT_EQ(guessed.stats.generated_tokens, alone.stats.generated_tokens);
    }
  }
}

TEST_F(ReplyFormats, ABegunAnswerGoesOn) {
  SamplingConfig sampling = plain(ReplyFormat::json_schema(R"({"type": "object", "properties": {"a": {"const": 12}},
      "required": ["a"], "additionalProperties": false})"));
  sampling.continue_final_message = true;
  const Outcome outcome = play(sampling, {}, {}, {{Role::user, "Hello"}, {Role::assistant, "{\"a\":"}});
  EXPECT_THAT(outcome.text, MatchesRegex("[ \n\t]*12[ \n\t]*\\}"));
  const auto error = error_of([&] { play(sampling, {}, {}, {{Role::user, "Hello"}, {Role::assistant, "Well"}}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->where(), "continue_final_message");
}

TEST_F(ReplyFormats, CancelledInTheMiddleTheChatGoesOn) {
  SamplingConfig sampling = plain(ReplyFormat::json_schema(R"({"type": "string"})"));
  backend->on_decode = [this](int64_t decodes) {
    if (decodes == 4) engine->cancel();
  };
  const Outcome cut = play_script("\"abcdefghijklmnopqrstuvwxyz\"", sampling);
  EXPECT_EQ(cut.stats.finish, FinishReason::cancelled);
  backend->on_decode = nullptr;
  EXPECT_EQ(play_script("\"abc\"", sampling).text, "\"abc\"");
}

TEST_F(ReplyFormats, AFullContextEndsTheReply) {
  make(static_cast<int64_t>(40));
  const Outcome outcome = play(plain(ReplyFormat::regex("(word after word ){200}")));
  EXPECT_EQ(outcome.stats.finish, FinishReason::context_full);
  EXPECT_TRUE(outcome.text.starts_with("word after word ")) << outcome.text;
}

TEST_F(ReplyFormats, WhatCannotBeHonouredIsRefusedByItsPath) {
  const auto refused = [&](ReplyFormat format, ErrorCode code, const std::string& where) {
    const auto error = error_of([&] { play(plain(std::move(format))); });
    ASSERT_TRUE(error) << where;
    EXPECT_EQ(error->code(), code) << error->what();
    EXPECT_EQ(error->where(), where) << error->what();
  };
  refused(ReplyFormat::json_schema(R"({"type": "object", "properties": {"age": {"multipleOf": 3}}})"),
          ErrorCode::unsupported, "schema/properties/age/multipleOf");
  refused(ReplyFormat::json_schema("{\"type\": 7}"), ErrorCode::invalid_argument, "schema/type");
  refused(ReplyFormat::json_schema("{"), ErrorCode::invalid_argument, "schema");
  refused(ReplyFormat::json_schema(""), ErrorCode::invalid_argument, "schema");
  refused(ReplyFormat::regex("(a"), ErrorCode::invalid_argument, "regex");
  refused(ReplyFormat::regex("(?=a)b"), ErrorCode::unsupported, "regex");
  refused(ReplyFormat::grammar("rule ::= \"a\""), ErrorCode::invalid_argument, "grammar");
  refused({static_cast<ReplyFormat::Kind>(9), {}}, ErrorCode::invalid_argument, "SamplingConfig.format");
  EXPECT_EQ(play_script("fine", plain()).text, "fine") << "afterwards";
}

TEST_F(ReplyFormats, LanguagesAreCompiledOnceAndFewAreKept) {
  const chat::RuleCache& cache = engine->loaded()->text->rules;
  play(plain(ReplyFormat::regex("a{3}")));
  play(plain(ReplyFormat::regex("a{3}")));
  EXPECT_EQ(cache.size(), 1U);
  for (int i = 0; i < 80; ++i) play(plain(ReplyFormat::regex("b{" + std::to_string(i + 1) + "}")));
  EXPECT_EQ(cache.size(), chat::RuleCache::kMaxEntries);
}

// ---- tools

TEST_F(ReplyFormats, ARequiredCallIsOneOfTheToolsWithArgumentsByTheirSchemas) {
  SamplingConfig sampling = plain();
  sampling.tool_choice = ToolChoice::required();
  sampling.temperature = 1.2F;
  sampling.max_tokens = 300;
  int calls = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    sampling.seed = seed;
    const Outcome outcome = play(sampling, tools());
    if (outcome.stats.finish == FinishReason::length) continue;
    EXPECT_EQ(outcome.stats.finish, FinishReason::tool_calls);
    EXPECT_EQ(outcome.text, "");
    EXPECT_THAT(outcome.stats.tool_call_errors, IsEmpty());
    ASSERT_FALSE(outcome.calls.empty());
    for (const ToolCall& call : outcome.calls) {
      EXPECT_EQ(violation(call), "") << call.name << call.arguments;
      ++calls;
    }
  }
  EXPECT_GT(calls, 10);
}

TEST_F(ReplyFormats, ANamedToolIsCalledOnceWhereCallsAreNotParallel) {
  SamplingConfig sampling = plain();
  sampling.tool_choice = ToolChoice::named("stop");
  sampling.parallel_tool_calls = false;
  const Outcome outcome = play(sampling, tools());
  ASSERT_EQ(outcome.calls.size(), 1U);
  EXPECT_EQ(outcome.calls[0].name, "stop");
  EXPECT_EQ(outcome.calls[0].arguments, "{}");
  EXPECT_EQ(outcome.stats.finish, FinishReason::tool_calls);
  EXPECT_EQ(backend->decodes, 0) << "all of it has to follow";
  sampling.tool_choice = ToolChoice::named("start");
  const auto error = error_of([&] { play(sampling, tools()); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->where(), "SamplingConfig.tool_choice");
  sampling.tool_choice = ToolChoice::required();
  EXPECT_TRUE(error_of([&] { play(sampling); })) << "no tools";
}

TEST_F(ReplyFormats, TheModelsOwnCallIsHeldToItsTool) {
  const std::string call =
      "Look: <tool_call>\n<function=get_weather>\n<parameter=city>\nOslo <b>\n</parameter>\n<parameter=days>\nmany\n"
      "</parameter>\n</function>\n</tool_call>";
  const Outcome outcome = play_script(call, plain(), tools());
  EXPECT_EQ(outcome.text, "Look:");
  ASSERT_EQ(outcome.calls.size(), 1U) << outcome.stats.tool_call_errors.size();
  EXPECT_EQ(violation(outcome.calls[0]), "") << outcome.calls[0].arguments;
  EXPECT_EQ(Json::parse(outcome.calls[0].arguments)["city"], "Oslo <b>");
  const Outcome wrong = play_script("<tool_call>\n<function=launch>\n</function>\n</tool_call>", plain(), tools());
  for (const ToolCall& each : wrong.calls) EXPECT_NE(each.name, "launch");
}

TEST_F(ReplyFormats, NoneCallsNothingAndOneCallIsNoTwo) {
  const std::string call = "<tool_call>\n<function=stop>\n</function>\n</tool_call>";
  SamplingConfig sampling = plain();
  EXPECT_EQ(play_script(call + call, sampling, tools()).calls.size(), 2U);
  sampling.parallel_tool_calls = false;
  EXPECT_EQ(play_script(call + call, sampling, tools()).calls.size(), 1U);
  sampling.tool_choice = ToolChoice::none();
  sampling.max_tokens = 30;
  EXPECT_THAT(play_script(call, sampling, tools()).calls, IsEmpty());
}

TEST_F(ReplyFormats, AFormatMayStandBesideTools) {
  SamplingConfig sampling = plain(ReplyFormat::json_schema(R"({"type": "boolean"})"));
  EXPECT_EQ(play_script("true", sampling, tools()).text, "true");
  const Outcome call = play_script("<tool_call>\n<function=stop>\n</function>\n</tool_call>", sampling, tools());
  EXPECT_EQ(call.text, "");
  ASSERT_EQ(call.calls.size(), 1U);
  EXPECT_EQ(call.stats.finish, FinishReason::tool_calls);
}

TEST_F(ReplyFormats, ACallThatIsCutOffIsAnError) {
  SamplingConfig sampling = plain();
  sampling.tool_choice = ToolChoice::named("get_weather");
  sampling.max_tokens = 12;
  const Outcome outcome = play(sampling, tools());
  EXPECT_EQ(outcome.stats.finish, FinishReason::length);
  EXPECT_THAT(outcome.calls, IsEmpty());
  ASSERT_EQ(outcome.stats.tool_call_errors.size(), 1U);
  EXPECT_THAT(outcome.stats.tool_call_errors[0], HasSubstr("cut off"));
}

TEST_F(ReplyFormats, AStrictToolIsHeldToOrRefusedOthersAreLeftFree) {
  const auto tool = [](bool strict) {
    return std::vector<Tool>{{std::string(R"({"type": "function", "function": {"name": "f", "strict": )") +
                              (strict ? "true" : "false") +
                              R"(, "parameters": {"type": "object", "properties": {"n": {"type": "integer",
                                 "multipleOf": 3}, "b": {"type": "boolean"}}, "required": ["n", "b"]}}})"}};
  };
  SamplingConfig sampling = plain();
  sampling.tool_choice = ToolChoice::required();
  const auto error = error_of([&] { play(sampling, tool(true)); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::unsupported);
  EXPECT_EQ(error->where(), "tools[0]/function/parameters/properties/n/multipleOf");
  const Outcome outcome = play_script(
      "<tool_call>\n<function=f>\n<parameter=n>\n9\n</parameter>\n<parameter=b>\ntrue\n</parameter>\n</function>\n"
      "</tool_call>",
      sampling, tool(false));
  ASSERT_EQ(outcome.calls.size(), 1U);
  EXPECT_EQ(outcome.calls[0].arguments, R"({"n": 9, "b": true})");
  ASSERT_EQ(outcome.stats.left_free.size(), 1U);
  EXPECT_THAT(outcome.stats.left_free[0], HasSubstr("properties/n/multipleOf"));
}

TEST_F(ReplyFormats, ACallAfterAThoughtIsHeldToItsTool) {
  SamplingConfig sampling = plain();
  sampling.disable_thinking = false;
  sampling.enable_thinking = true;
  sampling.tool_choice = ToolChoice::required();
  sampling.parallel_tool_calls = false;
  const Outcome outcome = play_script("I will stop.</think>\n\n<tool_call>\n<function=stop>", sampling, tools());
  EXPECT_EQ(outcome.thought, "I will stop.");
  ASSERT_EQ(outcome.calls.size(), 1U);
  EXPECT_EQ(outcome.calls[0].name, "stop");
  EXPECT_EQ(outcome.text, "");
}

// ---- on a model

TEST(ReplyFormatOnAModel, TheTextIsTheSameHoweverItIsComputed) {
  const auto format = ReplyFormat::json_schema(R"({"type": "object", "properties": {"name": {"type": "string",
      "maxLength": 5}, "count": {"type": "integer"}, "flags": {"type": "array", "items": {"type": "boolean"},
      "maxItems": 2}}, "required": ["name", "count", "flags"], "additionalProperties": false})");
  SamplingConfig sampling = plain(format);
  sampling.temperature = 1.0F;
  sampling.seed = 11;
  std::vector<std::string> texts;
  for (const int threads : {1, 2}) {
    LoadOptions options;
    options.threads = threads;
    Chat chat = Chat::from_pretrained(PROSA_TINY_CHAT, options);
    const Reply alone = chat.generate(hello(), sampling);
    EXPECT_EQ(alone.stats.finish, FinishReason::stop);
    EXPECT_GT(alone.stats.forced_tokens, 0);
    texts.push_back(alone.text);
    std::array<std::string, 2> said;  // at once
    std::vector<std::thread> at_once;
    for (std::string& text : said) {
      at_once.emplace_back([&text, &sampling, other = std::make_shared<Chat>(chat.model())] {
        text = other->generate(hello(), sampling).text;
      });
    }
    for (std::thread& thread : at_once) thread.join();
    texts.insert(texts.end(), said.begin(), said.end());
    // A turn later all of it is history.
    const Messages next = {{Role::user, "Hello"}, {Role::assistant, alone.text}, {Role::user, "Again"}};
    const std::string warm = chat.generate(next, sampling).text;
    EXPECT_EQ(Chat::from_pretrained(PROSA_TINY_CHAT, options).generate(next, sampling).text, warm);
  }
  for (const std::string& text : texts) EXPECT_EQ(text, texts.front());
  EXPECT_TRUE(Json::accept(texts.front())) << texts.front();
}

}  // namespace
}  // namespace prosa
