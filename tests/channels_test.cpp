// How a reply is taken apart: the channel splitter (examples, random token sequences against a simple model, text
// lookalikes, tokenizers without tag ids), the tool call parser and the stop strings (against naive search).
#include "chat/channels.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/stop.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// ---- the splitter ----

constexpr int32_t plain = 100, think_id = 1, end_think_id = 2, call_id = 3, end_call_id = 4, end_id = 5;
const ChannelTokens with_ids{think_id, end_think_id, call_id, end_call_id, {end_id}};

struct Token {
  int32_t id;
  std::string text;
};
const Token think{think_id, "<think>"}, end_think{end_think_id, "</think>"}, call{call_id, "<tool_call>"},
    end_call{end_call_id, "</tool_call>"}, end{end_id, "<|im_end|>"};
Token text(std::string text) { return {plain, std::move(text)}; }

struct Split {
  std::string thought, speech;
  std::vector<std::string> calls;  // name(arguments)
  std::vector<CallError> errors;
  int64_t thinking_tokens = 0;
};

Split split(const std::vector<Token>& tokens, Channel first = Channel::speech, const ChannelTokens& ids = with_ids,
            std::vector<Tool> tools = {}) {
  ChannelSplitter splitter(ids, first, ToolCallParser(tools));
  std::vector<Piece> pieces;
  for (const Token& token : tokens) splitter.push(token.id, token.text, pieces);
  splitter.finish(pieces);
  Split result;
  for (const Piece& piece : pieces) {
    EXPECT_EQ(piece.call.has_value(), piece.channel == Channel::tool_call);
    EXPECT_EQ(piece.text.empty(), piece.channel == Channel::tool_call);
    if (piece.channel == Channel::thought) result.thought += piece.text;
    if (piece.channel == Channel::speech) result.speech += piece.text;
    if (piece.call) result.calls.push_back(piece.call->name + "(" + piece.call->arguments + ")");
  }
  EXPECT_EQ(splitter.calls(), static_cast<int64_t>(result.calls.size()));
  result.errors = splitter.errors();
  result.thinking_tokens = splitter.thinking_tokens();
  return result;
}

const std::string weather = "\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n";
const std::string weather_call = R"(get_weather({"city": "Oslo"}))";

TEST(Channels, ThoughtThenSpeech) {
  const Split result =
      split({text("Hm"), text(" so\n"), end_think, text("\n\n"), text("Hi"), text(" there\n"), end}, Channel::thought);
  EXPECT_EQ(result.thought, "Hm so");
  EXPECT_EQ(result.speech, "Hi there");
  EXPECT_EQ(result.thinking_tokens, 3);
}

TEST(Channels, ThoughtOpenedByTheModel) {
  const Split result = split({think, text("\n"), text("\nwhy"), end_think, text("\n"), text("\nBecause.")});
  EXPECT_EQ(result.thought, "why");
  EXPECT_EQ(result.speech, "Because.");
}

TEST(Channels, KeepsInnerWhiteSpaceAndIndentation) {
  EXPECT_EQ(split({text("\n\n  a "), text(" \n"), text("\n b"), text(" ")}).speech, "  a  \n\n b");
}

TEST(Channels, GivesTextOutAtOnceExceptTrailingWhiteSpace) {
  ChannelSplitter splitter(with_ids, Channel::speech);
  std::vector<Piece> pieces;
  splitter.push(plain, "One <", pieces);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].text, "One <") << "text is not held back for tags that have ids";
  splitter.push(plain, " two ", pieces);
  EXPECT_EQ(pieces[1].text, " two");
}

TEST(Channels, LookalikesNeverSwitch) {
  const std::string tags = "Write <think> and </think>, <tool_call>x</tool_call> and <|im_end|>.";
  EXPECT_EQ(split({text(tags)}).speech, tags);
  EXPECT_EQ(split({text(tags)}, Channel::thought).thought, tags);
  EXPECT_EQ(split({text(tags)}, Channel::thought).speech, "");
  const Split result = split(
      {call, text("\n<function=f>\n<parameter=x>\n</tool_"), text("call>\n</parameter>\n</function>\n"), end_call});
  EXPECT_THAT(result.calls, ElementsAre(R"(f({"x": "</tool_call>"}))"));
}

TEST(Channels, SpeechBeforeSeveralCalls) {
  const Split result =
      split({text("I look.\n\n"), call, text(weather), end_call, text("\n"), call, text(weather), end_call, end});
  EXPECT_EQ(result.speech, "I look.");
  EXPECT_THAT(result.calls, ElementsAre(weather_call, weather_call));
  EXPECT_TRUE(result.errors.empty());
}

TEST(Channels, SpeechAfterACallStaysApart) {
  EXPECT_EQ(split({text("One.\n\n"), call, text(weather), end_call, text("\nTwo.")}).speech, "One.\n\nTwo.");
  EXPECT_EQ(split({text("One."), call, text(weather), end_call, text("\nTwo.")}).speech, "One.\nTwo.");
  EXPECT_EQ(split({call, text(weather), end_call, text("\n\nTwo.")}).speech, "Two.");
}

TEST(Channels, CallInsideAThoughtIsACallAndTheRestStaysThought) {
  const Split result =
      split({text("I need it.\n"), call, text(weather), end_call, text("\nLater."), end_think, text("\n\nDone.")},
            Channel::thought);
  EXPECT_EQ(result.thought, "I need it.\nLater.");
  EXPECT_EQ(result.speech, "Done.");
  EXPECT_THAT(result.calls, ElementsAre(weather_call));
}

TEST(Channels, CutOffCallIsAnErrorNotSpeech) {
  for (const size_t length : {size_t{0}, size_t{5}, size_t{24}, size_t{40}, size_t{55}, weather.find("</function>")}) {
    const Split result = split({text("I look."), call, text(weather.substr(0, length))});
    EXPECT_EQ(result.speech, "I look.");
    EXPECT_TRUE(result.calls.empty()) << length;
    ASSERT_EQ(result.errors.size(), 1U) << length;
    EXPECT_THAT(result.errors[0].message, HasSubstr("cut off"));
    EXPECT_EQ(result.errors[0].text, weather.substr(0, length));
  }
  EXPECT_THAT(split({call, text(weather), end}).calls, ElementsAre(weather_call))
      << "whole, only </tool_call> is missing";
  const Split twice = split({call, text("<function=f>\n<para"), call, text(weather), end_call});
  EXPECT_EQ(twice.errors.size(), 1U);
  EXPECT_THAT(twice.calls, ElementsAre(weather_call));
}

TEST(Channels, StrayTagsAreDropped) {
  const Split result = split({end_think, text("\n\nHello"), end_call, text(" you"), end_think, text("!")});
  EXPECT_EQ(result.speech, "Hello you!");
  EXPECT_EQ(split({think, text("\na"), end_think, text("b")}, Channel::thought).thought, "a");
}

TEST(Channels, KeepsWhatTheDecoderHadLeftBeforeATag) {
  const Split result =
      split({text("a"), {end_think_id, "\uFFFD</think>"}, text("b"), {end_id, "\uFFFD<|im_end|>"}}, Channel::thought);
  EXPECT_EQ(result.thought, "a\uFFFD");
  EXPECT_EQ(result.speech, "b\uFFFD");
  EXPECT_EQ(split({text("a"), {end_think_id, ""}, text("b"), {end_id, ""}}, Channel::thought).speech, "b")
      << "a decoder that skips special tokens";
}

TEST(Channels, WithoutIdsTagsAreFoundInTextAcrossTokens) {
  const std::string reply =
      "a <thin k\n</think>\n\nLet me <b>see</b>.\n<tool_call>" + weather + "</tool_call>\nok <think>\nz</think>";
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<Token> tokens;
    for (size_t at = 0; at < reply.size();) {
      const size_t length = 1 + random() % 12;
      tokens.push_back(text(reply.substr(at, length)));
      at += length;
    }
    const Split result = split(tokens, Channel::thought, ChannelTokens{});
    EXPECT_EQ(result.thought, "a <thin k\nz");
    EXPECT_EQ(result.speech, "Let me <b>see</b>.\nok");
    EXPECT_THAT(result.calls, ElementsAre(weather_call));
  }
  EXPECT_EQ(split({text("<tool_call>x</tool_call> <")}, Channel::thought, ChannelTokens{}).thought,
            "<tool_call>x</tool_call> <");
}

TEST(Channels, TakesItsIdsFromTheTokenizer) {
  const auto tokenizer = Tokenizer::load_file(PROSA_TEST_DATA "/golden/tokenizer/qwen3-tokenizer.json");
  const ChannelTokens ids = ChannelTokens::of(tokenizer);
  EXPECT_EQ(ids.think_open, 151667);
  EXPECT_EQ(ids.think_close, 151668);
  EXPECT_EQ(ids.call_open, 151657);
  EXPECT_EQ(ids.call_close, 151658);
  EXPECT_THAT(ids.end, ElementsAre(151645, 151643));

  // The same characters as plain tokens, then as tags.
  std::vector<int32_t> reply;
  for (const char* part : {"So </", "think", "> is a tag é😀"}) tokenizer.encode(part, reply);
  tokenizer.encode("\n</think>\n\nÜber <b>\n<tool_call>" + weather + "</tool_call><|im_end|>", reply);
  StreamDecoder decoder(tokenizer);
  std::vector<Token> tokens;
  for (const int32_t id : reply) tokens.push_back({id, decoder.push(id)});
  const Split result = split(tokens, Channel::thought, ids);
  EXPECT_EQ(result.thought, "So </think> is a tag é😀");
  EXPECT_EQ(result.speech, "Über <b>");
  EXPECT_THAT(result.calls, ElementsAre(weather_call));
}

TEST(Channels, FirstChannelFollowsThePrompt) {
  const std::string turn = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(first_channel(turn + "<think>\n"), Channel::thought);
  EXPECT_EQ(first_channel(turn + "<think>\n\n</think>\n\n"), Channel::speech);
  EXPECT_EQ(first_channel(turn), Channel::speech);
  EXPECT_EQ(first_channel(turn + "<think>\nx\n</think>\n\ny<|im_end|>\n"), Channel::speech);
  EXPECT_EQ(first_channel("<|im_start|>user\n<think>\n"), Channel::speech);
  EXPECT_EQ(first_channel(""), Channel::speech);
}

TEST(Channels, ThinkingBudgetClosesTheBlock) {
  ChannelSplitter splitter(with_ids, Channel::thought);
  std::vector<Piece> pieces;
  EXPECT_TRUE(splitter.must_close_thinking(0)) << "at once";
  EXPECT_FALSE(splitter.must_close_thinking(-1)) << "never";
  splitter.push(plain, "a", pieces);
  EXPECT_FALSE(splitter.must_close_thinking(2));
  splitter.push(plain, "b", pieces);
  EXPECT_TRUE(splitter.must_close_thinking(2));
  EXPECT_EQ(thinking_end_text(), "\n</think>\n\n");
  splitter.push(plain, "\n", pieces);  // the forced tokens
  splitter.push(end_think_id, "</think>", pieces);
  splitter.push(plain, "\n\n", pieces);
  EXPECT_FALSE(splitter.must_close_thinking(2));
  EXPECT_EQ(splitter.channel(), Channel::speech);
  EXPECT_EQ(splitter.thinking_tokens(), 4);
  splitter.push(plain, "c", pieces);
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[2].text, "c");
}

/// Random tokens against the plainest possible model: every letter says which channel the model puts it in.
TEST(Channels, RandomTokensNeverLeakBetweenChannels) {
  std::mt19937 random(11);
  const std::vector<std::string> spaces = {"", " ", "\n", "\n\n", " \n ", "\t"};
  for (int round = 0; round < 20'000; ++round) {
    Channel state = random() % 2 == 0 ? Channel::thought : Channel::speech;
    const Channel first = state;
    Channel back = state;
    std::string thought, speech;  // letters only
    std::vector<Token> tokens;
    const size_t length = random() % 30;
    for (size_t i = 0; i < length; ++i) {
      const uint32_t choice = random() % 14;
      if (choice == 0) {
        tokens.push_back(think);
        if (state == Channel::speech) state = Channel::thought;
      } else if (choice == 1) {
        tokens.push_back(end_think);
        if (state == Channel::thought) state = Channel::speech;
      } else if (choice == 2) {
        tokens.push_back(call);
        if (state != Channel::tool_call) back = std::exchange(state, Channel::tool_call);
      } else if (choice == 3 || choice == 4) {
        tokens.push_back(choice == 3 ? end_call : end);
        if (state == Channel::tool_call) state = back;
      } else {
        const std::string letter = state == Channel::thought ? "T" : state == Channel::speech ? "S" : "c";
        if (state == Channel::thought) thought += letter;
        if (state == Channel::speech) speech += letter;
        const std::string lookalike = random() % 4 == 0 ? "<" : "";
        tokens.push_back(
            text(spaces[random() % spaces.size()] + lookalike + letter + spaces[random() % spaces.size()]));
      }
    }
    const Split result = split(tokens, first);
    const auto letters = [](std::string all) {
      std::erase_if(all, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '<'; });
      return all;
    };
    ASSERT_EQ(letters(result.speech), speech);
    ASSERT_EQ(letters(result.thought), thought);
    ASSERT_TRUE(result.calls.empty());
    for (const std::string* channel : {&result.speech, &result.thought}) {
      ASSERT_FALSE(!channel->empty() && (channel->front() == '\n' || std::isspace(channel->back()))) << *channel;
    }
  }
}

/// Pieces of everything in any order, with and without ids: nothing may crash (run under sanitizers), and no call's
/// insides may be spoken.
TEST(Channels, SurvivesRandomFragments) {
  const std::vector<std::string> fragments = {"<think>",     "</think>",
                                              "<tool_call>", "</tool_call>",
                                              "<function=",  "f>",
                                              "</function>", "<parameter=",
                                              "p>",          "</parameter>",
                                              "\n",          "{\"name\": \"f\"",
                                              "}",           "[",
                                              "<",           ">",
                                              "é",           "<|im_end|>",
                                              "</",          "\"",
                                              " ",           "\xF0\x9F\x98\x80",
                                              "true",        "1e999"};
  const std::vector<Tool> tools = {
      {R"({"name": "f", "parameters": {"properties": {"p": {"$ref": "#"}, "q": {"anyOf": [{}]}}}})"}};
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    ChannelTokens ids;
    if (random() % 2 == 0) ids = with_ids;
    if (random() % 4 == 0) ids.call_close.reset();
    if (random() % 4 == 0) ids.think_close.reset();
    std::vector<Token> tokens(random() % 40);
    for (Token& token : tokens) {
      token.id = random() % 4 == 0 ? static_cast<int32_t>(random() % 8) - 1 : plain;
      token.text = fragments[random() % fragments.size()];
    }
    split(tokens, random() % 2 == 0 ? Channel::thought : Channel::speech, ids, tools);
  }
}

// ---- tool calls ----

std::string parse(const std::string& body, const std::vector<Tool>& tools = {}, bool cut_off = false) {
  const auto result = ToolCallParser(tools).parse(body, cut_off);
  if (const auto* error = std::get_if<CallError>(&result)) return "error: " + error->message;
  std::string out;
  for (const ToolCall& item : std::get<std::vector<ToolCall>>(result)) out += item.name + item.arguments;
  return out;
}

const std::vector<Tool> typed = {{R"({"type": "function", "function": {"name": "f", "parameters": {"type": "object",
  "$defs": {"point": {"type": "object"}, "loop": {"$ref": "#/$defs/loop"}},
  "properties": {"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
    "o": {"type": "object"}, "a": {"type": "array"}, "sn": {"type": ["string", "null"]},
    "any": {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "p": {"$ref": "#/$defs/point"}, "loop": {"$ref": "#/$defs/loop"},
    "e": {"enum": [1, 2, "auto"]}, "bad": {"$ref": "#/%%"}, "free": {}}}}})"}};

std::string value(const std::string& key, const std::string& text) {
  const std::string parsed =
      parse("<function=f>\n<parameter=" + key + ">\n" + text + "\n</parameter>\n</function>", typed);
  const std::string head = "f{\"" + key + "\": ";
  EXPECT_TRUE(parsed.starts_with(head)) << parsed;
  return parsed.size() > head.size() ? parsed.substr(head.size(), parsed.size() - head.size() - 1) : parsed;
}

TEST(ToolCalls, TypesFollowTheSchema) {
  EXPECT_EQ(value("s", "12"), "\"12\"");
  EXPECT_EQ(value("s", "null"), "\"null\"");
  EXPECT_EQ(value("i", "12"), "12");
  EXPECT_EQ(value("i", " 12 "), "12");
  EXPECT_EQ(value("i", "3.0"), "3");
  EXPECT_EQ(value("i", "3.5"), "\"3.5\"");
  EXPECT_EQ(value("i", "1e300"), "\"1e300\"");
  EXPECT_EQ(value("i", "three"), "\"three\"");
  EXPECT_EQ(value("n", "2"), "2");
  EXPECT_EQ(value("n", "2.5"), "2.5");
  EXPECT_EQ(value("b", "true"), "true");
  EXPECT_EQ(value("b", "False"), "false");
  EXPECT_EQ(value("o", "{\"x\": [1, {}]}"), "{\"x\": [1, {}]}");
  EXPECT_EQ(value("o", "{\"x\""), R"("{\"x\"")");
  EXPECT_EQ(value("a", "[1,\n2]"), "[1, 2]");
  EXPECT_EQ(value("sn", "null"), "null");
  EXPECT_EQ(value("sn", "12"), "\"12\"");
  EXPECT_EQ(value("any", "12"), "12");
  EXPECT_EQ(value("any", "x"), "\"x\"");
  EXPECT_EQ(value("p", "{}"), "{}");
  EXPECT_EQ(value("loop", "1"), "\"1\"");
  EXPECT_EQ(value("e", "2"), "2");
  EXPECT_EQ(value("e", "auto"), "\"auto\"");
  EXPECT_EQ(value("bad", "1"), "\"1\"");
  EXPECT_EQ(value("free", "1"), "\"1\"");
  EXPECT_EQ(value("unknown", "1"), "\"1\"");
}

TEST(ToolCalls, KeepsValuesAsWritten) {
  EXPECT_EQ(value("s", "two\nlines\n"), R"("two\nlines\n")");
  EXPECT_EQ(value("s", ""), "\"\"");
  EXPECT_EQ(value("s", "  indented"), "\"  indented\"");
  EXPECT_EQ(value("s", "a </parameter> b"), "\"a </parameter> b\"");
  EXPECT_EQ(value("s", "a </function> b"), "\"a </function> b\"");
  EXPECT_EQ(value("s", "if a <parameter=x> b"), "\"if a <parameter=x> b\"");
}

TEST(ToolCalls, IsTolerantInForm) {
  EXPECT_EQ(parse("<function=f></function>"), "f{}");
  EXPECT_EQ(parse("<function=f>\n</function>\n<function=g><parameter=a>1</parameter></function>"),
            "f{}g{\"a\": \"1\"}");
  EXPECT_EQ(parse("<function=f><parameter=b>\n2\n</parameter>\n<parameter=a>\n1\n</parameter></function>"),
            R"(f{"b": "2", "a": "1"})")
      << "any order, kept";
  EXPECT_EQ(parse("<function=f>\n<parameter=a>\n1\n<parameter=b>\n2\n</function>"), R"(f{"a": "1", "b": "2"})")
      << "closing tags forgotten";
  EXPECT_EQ(parse("<function=f>\n<parameter=a>\n1\n</parameter>\n"), R"(f{"a": "1"})");
  EXPECT_EQ(parse("<function=f>\n<parameter=a>\n1\n</parameter>\n", {}, true),
            "error: expected <parameter=NAME> or </function>");
  EXPECT_EQ(parse("<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=a>\n2\n</parameter>\n</function>"),
            R"(f{"a": "2"})");
}

TEST(ToolCalls, ReadsTheOlderJsonForm) {
  EXPECT_EQ(parse("\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n"), R"(f{"x": 1})");
  EXPECT_EQ(parse(R"({"name": "f", "arguments": "{\"x\": 1}"})"), R"(f{"x": 1})");
  EXPECT_EQ(parse(R"({"name": "f", "parameters": {"x": 1}})"), R"(f{"x": 1})");
  EXPECT_EQ(parse(R"([{"name": "f"}, {"name": "g", "arguments": null}])"), "f{}g{}");
}

TEST(ToolCalls, SaysWhatIsWrong) {
  for (const char* body :
       {"", "  \n", "hello", "<function=>", "<function=f", "<function=f\n>", "<function=f>x</function>",
        "<function=f><parameter=></parameter></function>", "<function=f><parameter=a>1", "<function=f></function> so",
        "{", "{}", "[]", "[1]", R"({"name": 1})", R"({"name": "f", "arguments": [1]})",
        R"({"name": "f", "arguments": "{"})"}) {
    EXPECT_THAT(parse(body), testing::StartsWith("error: ")) << body;
  }
  EXPECT_THAT(parse(std::string(100'000, '[')), HasSubstr("deeper"));
  EXPECT_THAT(parse("<function=f><parameter=a>1"), HasSubstr("\"a\" never ends"));
}

// ---- stop strings ----

/// The definition: the first place where some string ends; of those, the longest.
std::string before_stop(const std::string& text, const std::vector<std::string>& stop, bool& matched) {
  for (size_t length = 0; length <= text.size(); ++length) {
    const std::string_view head(text.data(), length);
    size_t longest = 0;
    for (const std::string& one : stop) {
      if (head.ends_with(one)) longest = std::max(longest, one.size());
    }
    if (longest > 0) return matched = true, text.substr(0, length - longest);
  }
  return matched = false, text;
}

TEST(Stop, EqualsNaiveSearchHoweverTheTextIsCut) {
  std::mt19937 random(17);
  const std::vector<std::string> letters = {"a", "b", "ä", "日", "\n"};
  const auto word = [&](size_t length) {
    std::string out;
    while (length-- > 0) out += letters[random() % (2 + random() % 4)];
    return out;
  };
  int hits = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stop(1 + random() % 4);
    for (std::string& one : stop) one = word(1 + random() % 5);
    StopMatcher matcher(stop);
    size_t longest = 0;
    for (const std::string& one : stop) longest = std::max(longest, one.size());
    std::string all, shown;
    for (uint32_t pieces = random() % 12; pieces > 0; --pieces) {
      const std::string piece = word(random() % 5);
      all += piece;
      const std::string safe = matcher.push(piece);
      EXPECT_FALSE(!safe.empty() && (static_cast<unsigned char>(safe[0]) & 0xC0U) == 0x80U)
          << "starts inside a character";
      shown += safe;
      EXPECT_LT(matcher.held(), longest);
    }
    shown += matcher.flush();
    bool matched = false;
    const std::string expected = before_stop(all, stop, matched);
    ASSERT_EQ(shown, expected);
    ASSERT_EQ(matcher.matched(), matched);
    hits += matched ? 1 : 0;
  }
  EXPECT_GT(hits, 5'000);
  EXPECT_LT(hits, 19'000);
}

TEST(Stop, HoldsBackOnlyWhatMayBeginAStopString) {
  const std::vector<std::string> stop = {"\nUser:", "END"};
  StopMatcher matcher(stop);
  EXPECT_EQ(matcher.push("Hello\n"), "Hello");
  EXPECT_EQ(matcher.push("Us"), "");
  EXPECT_EQ(matcher.push("ually E"), "\nUsually ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("D and more"), "");
  EXPECT_EQ(matcher.match(), 1);
  EXPECT_EQ(matcher.push("x"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(Stop, WithoutStringsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_FALSE(matcher.matched());
}

TEST(Stop, RefusesWhatCannotBeMeant) {
  const std::vector<std::vector<std::string>> wrong = {
      {""}, {"a", ""}, {"\xC3"}, {std::string(4097, 'a')}, std::vector<std::string>(65, "a")};
  for (const auto& stop : wrong) {
    try {
      validate_stop_strings(stop);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_THAT(error.where(), testing::StartsWith("stop"));
    }
  }
  const std::vector<std::string> many(64, std::string(4096, 'a'));
  EXPECT_NO_THROW(validate_stop_strings(many));
}

}  // namespace
}  // namespace prosa::chat
