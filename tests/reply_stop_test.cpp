// A reply's stop strings, wherever tokens end, and the record of what was said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "reply_text_fixture.h"

namespace prosa::chat {
namespace {

using testing::ElementsAre;

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
