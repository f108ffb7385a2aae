// A reply's text without a model: tokens are pushed as a model might write them. Ends, thinking, tool calls,
// characters, copies; its stop strings and what counts as said: reply_stop_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "reply_text_fixture.h"

namespace prosa::chat {
namespace {

using testing::ElementsAre;

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

}  // namespace
}  // namespace prosa::chat
