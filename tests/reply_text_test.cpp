// A reply's text without a model: tokens are pushed as a model might write them. Most tests use the small tokenizer of
// tests/data/tiny-chat; where token borders matter, its vocabulary gets more tokens.
#include "chat/reply_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kTokenizer = PROSA_TEST_DATA "/tiny-chat/tokenizer.json";

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load_file(kTokenizer);
  return loaded;
}
const ReplyTokens& reply_tokens() {
  static const ReplyTokens tokens = ReplyTokens::of(tokenizer(), {});
  return tokens;
}

/// Every token by its bytes.
std::map<std::string, int32_t, std::less<>> by_bytes(const Tokenizer& of) {
  std::map<std::string, int32_t, std::less<>> found;
  for (int32_t id = 0; id < of.vocab_size(); ++id) found.emplace(of.token_bytes(id), id);
  return found;
}

/// With a token for each of `texts`.
Tokenizer tokenizer_with(const std::set<std::string>& texts) {
  std::ifstream file(kTokenizer);
  nlohmann::json json = nlohmann::json::parse(file);
  int id = 512;
  const auto known = by_bytes(tokenizer());
  for (const std::string& text : texts) {
    if (known.contains(text)) continue;
    nlohmann::json token = json["added_tokens"].back();
    token["id"] = id++;
    token["content"] = text;
    json["added_tokens"].push_back(token);
  }
  return Tokenizer::load_json(json.dump(), "with more tokens");
}

std::vector<int32_t> ids(std::string_view text) { return tokenizer().encode(text); }
int32_t id_of(std::string_view token) { return tokenizer().token_id(token).value(); }

/// One token for each byte.
std::vector<int32_t> bytes(std::string_view text) {
  static const auto known = by_bytes(tokenizer());
  std::vector<int32_t> result;
  for (const char c : text) result.push_back(known.at(std::string(1, c)));
  return result;
}

std::vector<int32_t> join(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::vector<int32_t> times(size_t n, int32_t token) { return std::vector<int32_t>(n, token); }

ReplyText begin(const SamplingConfig& sampling = {}, Channel first = Channel::speech,
                const std::vector<Tool>& tools = {}) {
  return {tokenizer(), reply_tokens(), first, sampling, tools};
}

SamplingConfig with_stop(std::vector<std::string> stop) {
  SamplingConfig config;
  config.stop = std::move(stop);
  return config;
}

/// What was handed out.
struct Heard {
  std::string speech, thought;
  std::vector<std::string> calls;   // name(arguments)
  std::vector<std::string> pieces;  // each with its channel
  friend bool operator==(const Heard&, const Heard&) = default;
};

void take(ReplyText& text, Heard& heard) {
  while (const std::optional<Piece> piece = text.take_piece()) {
    EXPECT_TRUE(utf8::is_valid(piece->text));
    EXPECT_EQ(piece->text.empty(), piece->call.has_value());
    if (piece->channel == Channel::speech) heard.speech += piece->text;
    if (piece->channel == Channel::thought) heard.thought += piece->text;
    if (piece->call) heard.calls.push_back(piece->call->name + "(" + piece->call->arguments + ")");
    heard.pieces.push_back(std::to_string(static_cast<int>(piece->channel)) + ":" + piece->text);
  }
}

/// Pushes tokens as whoever computes the reply would, forced ones when they are asked for; takes pieces at the end.
Heard drive(ReplyText& text, const std::vector<int32_t>& tokens) {
  for (const int32_t token : tokens) {
    while (!text.forced().empty()) text.push(text.forced().front());
    if (text.finished()) break;
    text.push(token);
  }
  while (!text.forced().empty()) text.push(text.forced().front());
  Heard heard;
  take(text, heard);
  EXPECT_EQ(text.said()->text(), heard.speech);
  return heard;
}

std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

const std::string kCall = "\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n";
const std::string kWholeCall = "<tool_call>" + kCall + "</tool_call>";
constexpr const char* kCallRead = R"(get_weather({"city": "Oslo"}))";

// ---- ends

TEST(ReplyText, EveryEndTokenEndsIt) {
  const ReplyTokens more = ReplyTokens::of(tokenizer(), std::vector<int32_t>{17, id_of("<|im_end|>")});
  EXPECT_THAT(more.end, ElementsAre(17, id_of("<|endoftext|>"), id_of("<|im_end|>")));
  for (const int32_t end : more.end) {
    ReplyText text(tokenizer(), more, Channel::speech, {}, {});
    const Heard heard = drive(text, join({ids("Hello there"), {end}}));
    EXPECT_EQ(heard.speech, "Hello there");
    EXPECT_EQ(text.finished(), FinishReason::stop);
    EXPECT_EQ(text.generated_tokens(), static_cast<int64_t>(ids("Hello there").size()) + 1);
    EXPECT_EQ(text.answer_tokens(), text.generated_tokens() - 1);
  }
}

TEST(ReplyText, ReasonsFromOutsideGiveOutWhatWasHeldBack) {
  for (const FinishReason reason : {FinishReason::cancelled, FinishReason::deadline, FinishReason::context_full}) {
    ReplyText text = begin(with_stop({"there is no such end"}));
    Heard heard = drive(text, join({ids("Hello there"), bytes("\xc3")}));
    EXPECT_EQ(heard.speech, "Hello ");
    EXPECT_FALSE(text.finished());
    text.finish(reason);
    take(text, heard);
    EXPECT_EQ(heard.speech, "Hello there\xEF\xBF\xBD") << "half a character at the end";
    EXPECT_EQ(text.finished(), reason);
    text.finish(FinishReason::stop);
    EXPECT_EQ(text.finished(), reason) << "the first reason stays";
    EXPECT_FALSE(text.has_piece());
  }
}

TEST(ReplyText, AbandonedItHandsOutNothingMore) {
  ReplyText text = begin();
  for (const int32_t token : ids("One two")) text.push(token);
  EXPECT_EQ(text.take_piece()->text, tokenizer().decode(std::vector{ids("One two")[0]}));
  EXPECT_TRUE(text.has_piece());
  const std::string said = text.said()->text();
  text.abandon();
  EXPECT_EQ(text.finished(), FinishReason::cancelled);
  EXPECT_FALSE(text.take_piece());
  EXPECT_EQ(text.said()->text(), said);

  ReplyText ended = begin();
  for (const int32_t token : ids("One<|im_end|>")) ended.push(token);
  ended.abandon();
  EXPECT_EQ(ended.finished(), FinishReason::stop) << "it had ended before";
  EXPECT_FALSE(ended.has_piece());
}

TEST(ReplyText, MaxTokensEndsItWithTheLastToken) {
  const std::vector<int32_t> answer = ids("Good day to you, my friend");
  for (int n = 1; n <= static_cast<int>(answer.size()); ++n) {
    SamplingConfig config;
    config.max_tokens = n;
    ReplyText text = begin(config);
    for (int i = 0; i < n; ++i) {
      ASSERT_FALSE(text.finished());
      text.push(answer[static_cast<size_t>(i)]);
    }
    EXPECT_EQ(text.finished(), FinishReason::length);
    EXPECT_EQ(text.answer_tokens(), n);
    Heard heard;
    take(text, heard);
    std::string expected = tokenizer().decode(std::span(answer).first(static_cast<size_t>(n)));
    expected.resize(expected.find_last_not_of(' ') + 1);
    EXPECT_EQ(heard.speech, expected);
  }
}

// ---- thinking

TEST(ReplyText, ThinkingIsNotCountedAsAnswer) {
  SamplingConfig config;
  config.max_tokens = 3;
  const std::vector<int32_t> thought = ids("I wonder what they want");
  ReplyText text = begin(config, Channel::thought);
  const Heard heard = drive(text, join({thought, ids("\n</think>\n\n"), times(5, id_of("!"))}));
  EXPECT_EQ(heard.thought, "I wonder what they want");
  EXPECT_EQ(heard.speech, "!!!");
  EXPECT_EQ(text.finished(), FinishReason::length);
  EXPECT_EQ(text.thinking_tokens(), static_cast<int64_t>(thought.size() + ids("\n").size()) + 1);
  EXPECT_EQ(text.answer_tokens(), 3);
}

TEST(ReplyText, TwoLineBreaksAfterAThoughtAreNoAnswer) {
  const int32_t line = bytes("\n")[0], exclamation = id_of("!"), close = id_of("</think>");
  struct Case {
    std::vector<int32_t> after;
    int64_t answer;
  };
  const std::vector<Case> cases = {
      {{line, exclamation}, 1},
      {{line, line, exclamation}, 1},
      {{line, line, line, exclamation}, 2},
      {{exclamation, line}, 2},
      {{line, exclamation, line}, 2},
      {join({ids("\n\n"), {exclamation}}), 1},
      {join({{line}, bytes(" "), {line}}), 2},
  };
  for (const Case& given : cases) {
    ReplyText text = begin({}, Channel::thought);
    drive(text, join({ids("Hm"), {close}, given.after}));
    EXPECT_EQ(text.answer_tokens(), given.answer) << testing::PrintToString(given.after);
  }
  ReplyText unthinking = begin();
  drive(unthinking, {line, line, exclamation});
  EXPECT_EQ(unthinking.answer_tokens(), 3) << "without a thought there is no margin";
}

TEST(ReplyText, TheBudgetForcesTheEndOfTheThought) {
  const std::vector<int32_t>& closing = reply_tokens().thinking_end;
  EXPECT_EQ(tokenizer().decode(closing), "\n</think>\n\n");
  for (const int budget : {0, 1, 2, 7}) {
    SamplingConfig config;
    config.max_thinking_tokens = budget;
    config.max_tokens = 2;
    ReplyText text = begin(config, Channel::thought);
    for (int i = 0; i < budget; ++i) {
      ASSERT_TRUE(text.forced().empty()) << i << " of " << budget;
      ASSERT_FALSE(text.constrains());
      text.push(id_of("!"));
    }
    for (size_t i = 0; i < closing.size(); ++i) {
      ASSERT_THAT(text.forced(), testing::ElementsAreArray(std::span(closing).subspan(i)));
      ASSERT_FALSE(text.constrains()) << "not even after the tag";
      text.push(closing[i]);
    }
    EXPECT_TRUE(text.forced().empty());
    EXPECT_TRUE(text.constrains());
    EXPECT_EQ(text.answer_tokens(), 0);
    EXPECT_EQ(text.thinking_tokens(), budget + static_cast<int64_t>(ids("\n").size()) + 1);
    const Heard heard = drive(text, ids("??"));
    EXPECT_EQ(heard.thought, std::string(static_cast<size_t>(budget), '!'));
    EXPECT_EQ(heard.speech, "??");
    EXPECT_EQ(text.finished(), FinishReason::length);
    EXPECT_FALSE(text.constrains());
  }
}

TEST(ReplyText, AThoughtThatClosesItselfInTimeIsNotForced) {
  SamplingConfig config;
  config.max_thinking_tokens = 4;
  ReplyText text = begin(config, Channel::thought);
  const Heard heard = drive(text, join({times(3, id_of("!")), {id_of("</think>")}, ids("\n\nYes<|im_end|>")}));
  EXPECT_EQ(text.thinking_tokens(), 4);
  EXPECT_EQ(heard.speech, "Yes");
  EXPECT_EQ(text.generated_tokens(), 4 + static_cast<int64_t>(ids("\n\nYes").size()) + 1) << "nothing was forced";
}

TEST(ReplyText, AModelThatOpensThoughtsForEverComesToAnEnd) {
  SamplingConfig config;
  config.max_thinking_tokens = 5;
  config.max_tokens = 10;
  ReplyText text = begin(config);
  std::vector<int32_t> endless;
  for (int i = 0; i < 100; ++i) endless = join({endless, {id_of("<think>"), id_of("!")}});
  const Heard heard = drive(text, endless);
  EXPECT_EQ(text.finished(), FinishReason::length);
  EXPECT_EQ(text.answer_tokens(), 10);
  EXPECT_EQ(heard.thought.substr(0, 3), "!!!");
}

TEST(ReplyText, AnEndTokenInsideAThoughtEndsIt) {
  ReplyText text = begin({}, Channel::thought);
  const Heard heard = drive(text, ids("I will not say\n<|im_end|>"));
  EXPECT_EQ(text.finished(), FinishReason::stop);
  EXPECT_EQ(heard.thought, "I will not say");
  EXPECT_EQ(heard.speech, "");
  EXPECT_EQ(text.answer_tokens(), 0);
}

TEST(ReplyText, ForcedTokensThatCloseNothingAreAnError) {
  ReplyTokens broken = reply_tokens();
  broken.thinking_end = ids("??");
  SamplingConfig config;
  config.max_thinking_tokens = 0;
  ReplyText text(tokenizer(), broken, Channel::thought, config, {});
  EXPECT_EQ(code_of([&] { drive(text, {}); }), ErrorCode::bad_tokenizer);
}

// ---- stop strings

/// All ways to cut `text` into tokens; calls visit(token texts).
void for_each_cut(const std::string& text, const std::function<void(const std::vector<std::string>&)>& visit) {
  for (size_t borders = 0; borders < size_t{1} << (text.size() - 1); ++borders) {
    std::vector<std::string> parts(1);
    for (size_t i = 0; i < text.size(); ++i) {
      if (i > 0 && (borders >> (i - 1) & 1U) != 0) parts.emplace_back();
      parts.back() += text[i];
    }
    visit(parts);
  }
}

struct StopCase {
  std::string text;
  std::vector<std::string> stop;
  std::string speech;  // what is said; shorter than the text where a stop string matches
};

TEST(ReplyText, StopStringsMatchAcrossEveryTokenBorder) {
  const std::vector<StopCase> cases = {
      {"Go END now", {"END"}, "Go "},      {"Go END now", {"END now"}, "Go "},  {"aababcab", {"abc"}, "aab"},
      {"aaabaaab", {"aab", "zz"}, "a"},    {"one two", {"o t", "two"}, "one "}, {"no match", {"chx"}, "no match"},
      {"all EN EN", {"END"}, "all EN EN"}, {"ENDafter", {"END", "ND"}, ""},
  };
  for (const StopCase& given : cases) {
    std::set<std::string> substrings;
    for (size_t at = 0; at < given.text.size(); ++at) {
      for (size_t n = 1; at + n <= given.text.size(); ++n) substrings.insert(given.text.substr(at, n));
    }
    const Tokenizer fine = tokenizer_with(substrings);
    const ReplyTokens tokens = ReplyTokens::of(fine, {});
    const auto known = by_bytes(fine);
    for_each_cut(given.text, [&](const std::vector<std::string>& parts) {
      ReplyText text(fine, tokens, Channel::speech, with_stop(given.stop), {});
      std::vector<int32_t> pushed;
      for (const std::string& part : parts) pushed.push_back(known.at(part));
      pushed.push_back(id_of("<|im_end|>"));
      const Heard heard = drive(text, pushed);
      const bool matches = given.speech != given.text;
      ASSERT_EQ(heard.speech, given.speech) << testing::PrintToString(parts);
      ASSERT_EQ(text.finished(), matches ? FinishReason::stop_string : FinishReason::stop);
    });
  }
}

TEST(ReplyText, WhatAStopStringHeldBackIsSaidToo) {
  // Both ways in which words are handed out only after the reply has been computed to its end.
  const Tokenizer fine = tokenizer_with({"right STOP now", "right EN"});
  const ReplyTokens tokens = ReplyTokens::of(fine, {});
  for (const auto& [token, stop, speech] : std::vector<std::array<std::string, 3>>{
           {"right STOP now", "STOP", "All right "}, {"right EN", "END", "All right EN"}}) {
    ReplyText text(fine, tokens, Channel::speech, with_stop({stop}), {});
    for (const int32_t id : fine.encode("All ")) text.push(id);
    text.push(fine.token_id(token).value());
    if (!text.finished()) text.push(id_of("<|im_end|>"));
    ASSERT_TRUE(text.finished());
    const std::shared_ptr<SaidText> remembered = text.said();  // as a conversation holds it from here on
    EXPECT_TRUE(text.has_piece());
    Heard heard;
    take(text, heard);
    EXPECT_EQ(heard.speech, speech);
    EXPECT_EQ(remembered->text(), speech);
    EXPECT_EQ(remembered->cut(speech.size()), speech);
  }
}

TEST(ReplyText, StopStringsSeeTheAnswerOnly) {
  ReplyText text = begin(with_stop({"END"}), Channel::thought);
  const Heard heard = drive(text, ids("END of it\n</think>\n\nThe END."));
  EXPECT_EQ(heard.thought, "END of it");
  EXPECT_EQ(heard.speech, "The ");
  EXPECT_EQ(text.finished(), FinishReason::stop_string);
}

TEST(ReplyText, AStopStringDoesNotReachAcrossACall) {
  ReplyText text = begin(with_stop({"onetwo"}));
  const Heard heard = drive(text, ids("one" + kWholeCall + "two<|im_end|>"));
  EXPECT_EQ(heard.speech, "onetwo");
  EXPECT_EQ(text.finished(), FinishReason::tool_calls);
  EXPECT_THAT(heard.calls, ElementsAre(kCallRead));
  size_t call = 0;
  while (heard.pieces[call] != "2:") ++call;
  std::string before;
  for (size_t i = 0; i < call; ++i) before += heard.pieces[i].substr(heard.pieces[i].find(':') + 1);
  EXPECT_EQ(before, "one") << "what was held back goes out before the call";
}

TEST(ReplyText, AStopStringMayBeCompletedByTheEnd) {
  ReplyText text = begin(with_stop({"\xEF\xBF\xBD"}));
  drive(text, join({ids("Hm"), bytes("\xc3")}));
  text.finish(FinishReason::cancelled);
  EXPECT_EQ(text.finished(), FinishReason::stop_string);
}

TEST(ReplyText, RefusesStopStringsThatCannotBeMeant) {
  EXPECT_EQ(code_of([] { begin(with_stop({"\xff"})); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { begin({}, Channel::speech, {{"no JSON"}}); }), ErrorCode::invalid_argument);
}

// ---- tool calls

TEST(ReplyText, ToolCallsAreReadAndGiveTheReason) {
  ReplyText text = begin();
  const Heard heard = drive(text, ids("I look.\n\n" + kWholeCall + "\n" + kWholeCall + "<|im_end|>"));
  EXPECT_EQ(heard.speech, "I look.");
  EXPECT_THAT(heard.calls, ElementsAre(kCallRead, kCallRead));
  EXPECT_EQ(text.finished(), FinishReason::tool_calls);
  ReplyStats stats;
  text.report(stats);
  EXPECT_EQ(stats.finish, FinishReason::tool_calls);
  EXPECT_EQ(stats.generated_tokens, text.generated_tokens());
  EXPECT_TRUE(stats.tool_call_errors.empty());
}

TEST(ReplyText, BrokenCallsAreErrorsAndNeverSpoken) {
  for (const bool cut_off : {false, true}) {
    ReplyText text = begin();
    const std::string body = cut_off ? kCall.substr(0, kCall.size() / 2) : "what?</tool_call>";
    const Heard heard = drive(text, ids("Look: <tool_call>" + body + "<|im_end|>"));
    EXPECT_EQ(heard.speech, "Look:");
    EXPECT_TRUE(heard.calls.empty());
    EXPECT_EQ(text.finished(), FinishReason::stop);
    ReplyStats stats;
    stats.tool_call_errors = {"of before"};
    text.report(stats);
    ASSERT_EQ(stats.tool_call_errors.size(), 1U);
    EXPECT_EQ(stats.tool_call_errors[0].starts_with("the call is cut off"), cut_off);
  }
}

TEST(ReplyText, AWholeCallCutOffByTheLimitIsTaken) {
  SamplingConfig config;
  const std::vector<int32_t> tokens = ids("<tool_call>" + kCall);
  config.max_tokens = static_cast<int>(tokens.size());
  ReplyText text = begin(config);
  const Heard heard = drive(text, tokens);
  EXPECT_THAT(heard.calls, ElementsAre(kCallRead));
  EXPECT_EQ(text.finished(), FinishReason::length);
}

TEST(ReplyText, ConstrainsInTheAnswerOnly) {
  SamplingConfig config;
  ReplyText text = begin(config, Channel::thought);
  const auto push = [&](std::string_view part) {
    for (const int32_t token : ids(part)) text.push(token);
    return text.constrains();
  };
  EXPECT_FALSE(text.constrains());
  EXPECT_FALSE(push("Hm\n"));
  EXPECT_TRUE(push("</think>"));
  EXPECT_TRUE(push("\n\nYes"));
  EXPECT_FALSE(push("<tool_call>"));
  EXPECT_FALSE(push(kCall));
  EXPECT_TRUE(push("</tool_call>"));
  EXPECT_FALSE(push("<think>"));
  EXPECT_FALSE(push("well <tool_call>"));
  EXPECT_FALSE(push(kCall + "</tool_call>")) << "back in the thought";
  EXPECT_TRUE(push("</think>"));
  EXPECT_FALSE(push("<|im_end|>"));
}

// ---- characters, pieces, copies

TEST(ReplyText, PiecesAreWholeCharacters) {
  const std::string words = "Grüße 日本 🦊, ça va";
  ReplyText text = begin();
  const Heard heard = drive(text, join({bytes(words), {id_of("<|im_end|>")}}));
  EXPECT_EQ(heard.speech, words);
  EXPECT_GT(heard.pieces.size(), 10U) << "and come as soon as they are whole";
}

/// Tokens as a confused model might write them.
std::vector<int32_t> random_tokens(std::mt19937& random, size_t n) {
  static const std::vector<std::string> parts = {"<think>", "</think>", "<tool_call>", "</tool_call>", kWholeCall,
                                                 "\n",      "\n\n",     " STOP ",      "日🦊",      "Hello you",
                                                 "ST",      "OP",       "<|im_end|>"};
  std::vector<int32_t> tokens;
  while (tokens.size() < n) {
    const size_t part = random() % (parts.size() + 4);
    if (part == 12 && random() % 4 != 0) continue;
    if (part < parts.size()) {
      tokens = join({tokens, random() % 3 == 0 ? bytes(parts[8 + part % 4]) : ids(parts[part])});
    } else {
      tokens.push_back(static_cast<int32_t>(random() % 499));
    }
  }
  return tokens;
}

SamplingConfig random_limits(std::mt19937& random) {
  SamplingConfig config;
  if (random() % 2 == 0) config.stop = {"STOP", "Hello\nyou"};
  config.max_tokens = 1 + static_cast<int>(random() % 60);
  config.max_thinking_tokens = static_cast<int>(random() % 20);
  return config;
}

/// One step of whoever computes: a forced token, or the next of `tokens`.
void step(ReplyText& text, const std::vector<int32_t>& tokens, size_t& next) {
  text.push(text.forced().empty() ? tokens[next++] : text.forced().front());
}

void expect_same(const ReplyText& a, const ReplyText& b) {
  ASSERT_EQ(a.finished(), b.finished());
  ASSERT_THAT(a.forced(), testing::ElementsAreArray(b.forced().begin(), b.forced().end()));
  ASSERT_EQ(a.constrains(), b.constrains());
  ASSERT_EQ(a.generated_tokens(), b.generated_tokens());
  ASSERT_EQ(a.thinking_tokens(), b.thinking_tokens());
  ASSERT_EQ(a.answer_tokens(), b.answer_tokens());
}

TEST(ReplyText, ACopyGoesOnAndADraftLeavesNoTrace) {
  std::mt19937 random(5);
  std::set<FinishReason> reasons;
  for (int i = 0; i < 2000; ++i) {
    const SamplingConfig config = random_limits(random);
    const std::vector<int32_t> tokens = random_tokens(random, 80);
    const Channel first = random() % 2 == 0 ? Channel::thought : Channel::speech;
    ReplyText plain = begin(config, first);
    ReplyText drafting = plain;
    drafting = begin(config, first);  // with a record of its own
    Heard of_plain, of_drafting;
    size_t next = 0;
    while (!plain.finished() && next < tokens.size()) {
      if (random() % 3 == 0) {  // a draft that is rejected
        ReplyText draft = drafting;
        const std::vector<int32_t> other = random_tokens(random, 8);
        for (size_t at = 0; at < other.size() && !draft.finished();) step(draft, other, at);
      }
      const size_t before = next;
      step(plain, tokens, next);
      if (random() % 2 == 0) {  // a draft that is accepted
        ReplyText draft = drafting;
        size_t at = before;
        step(draft, tokens, at);
        drafting = std::move(draft);
      } else {
        size_t at = before;
        step(drafting, tokens, at);
      }
      expect_same(plain, drafting);
      if (random() % 4 == 0) take(drafting, of_drafting);  // when pieces are taken makes no difference
      if (testing::Test::HasFatalFailure()) return;
    }
    plain.finish(FinishReason::cancelled);
    drafting.finish(FinishReason::cancelled);
    take(plain, of_plain);
    take(drafting, of_drafting);
    expect_same(plain, drafting);
    ASSERT_EQ(of_plain, of_drafting);
    ASSERT_EQ(drafting.said()->text(), of_drafting.speech);
    reasons.insert(*plain.finished());
  }
  EXPECT_GE(reasons.size(), 4U) << "the random replies end in many ways";
}

// ---- what was said

TEST(SaidText, CountsCharactersAndIsFinalOnceCut) {
  SaidText said;
  EXPECT_EQ(said.cut(0), "");
  said.append("too late");
  EXPECT_EQ(said.text(), "");

  SaidText other;
  other.append("Grüße");
  other.append(" 🦊!");
  EXPECT_EQ(code_of([&] { other.cut(9); }), ErrorCode::invalid_argument);
  other.append("?");  // an error has cut nothing
  EXPECT_EQ(other.cut(9), "Grüße 🦊!?");
  EXPECT_EQ(other.cut(7), "Grüße 🦊");
  other.append("more");
  EXPECT_EQ(other.text(), "Grüße 🦊");
  EXPECT_EQ(code_of([&] { other.cut(8); }), ErrorCode::invalid_argument) << "what was cut is gone";
}

TEST(ReplyText, WhatWasCutStaysCutWhileLaterPiecesAreTaken) {
  ReplyText text = begin();
  for (const int32_t token : ids("One two<|im_end|>")) text.push(token);
  const std::shared_ptr<SaidText> said = text.said();
  (void)text.take_piece();
  EXPECT_EQ(said->cut(1), "O");
  Heard heard;
  take(text, heard);
  EXPECT_FALSE(heard.pieces.empty());
  EXPECT_EQ(said->text(), "O");
}

}  // namespace
}  // namespace prosa::chat
