// Whose turn it is: conversations as lists of what is heard, and any list at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "voice/words.h"
#include "voice_conversation.h"

namespace prosa::voice {
namespace {

using Kind = Action::Kind;
using test::Conversation;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Words, AreComparedWithoutCaseAndPunctuation) {
  EXPECT_TRUE(same_words("Turn on the light.", "turn on  the light"));
  EXPECT_TRUE(same_words("Don't!", "dont"));
  EXPECT_TRUE(same_words("ÜBER Straße", "über straße"));
  EXPECT_FALSE(same_words("turn on the light", "turn on the lights"));
  EXPECT_TRUE(same_words("今日は、", "今日は"));
  EXPECT_THAT(words_of("今日は ok 7"), ElementsAre("今", "日", "は", "ok", "7"));
  EXPECT_THAT(words_of("...! \xff"), IsEmpty());
}

TEST(Words, WhatStoodInTwoTranscripts) {
  const auto stood = [](std::string_view before, std::string_view now) {
    return std::string(now.substr(0, common_prefix(before, now)));
  };
  EXPECT_EQ(stood("turn on", "Turn on the light"), "Turn on ");
  EXPECT_EQ(stood("turn of", "turn on the"), "turn ");
  EXPECT_EQ(stood("", "turn"), "");
  EXPECT_EQ(stood("turn on the light", "turn on."), "turn on.");
}

TEST(TurnTaker, ATurnIsReadAheadDraftedAndCommitted) {
  Conversation talk;
  talk.speech(300);
  talk.partial("turn on");
  talk.speech(200);
  talk.partial("turn on the light");
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "read_ahead: turn on "));
  talk.silence(60);
  EXPECT_THAT(talk.done(), IsEmpty()) << "a pause of less than the soft end";
  talk.silence(10);
  EXPECT_THAT(talk.done(), ElementsAre("draft: turn on the light"));
  talk.silence(130);
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance"));
  const int64_t drafted = talk.taker.revision();
  talk.final("Turn on the light.");
  EXPECT_THAT(talk.done(), ElementsAre("commit: Turn on the light."));
  EXPECT_EQ(talk.taker.revision(), drafted) << "the draft holds";
  talk.played();
  EXPECT_EQ(talk.taker.phase(), Phase::quiet);
}

TEST(TurnTaker, ADraftOfOtherWordsIsDropped) {
  Conversation talk;
  talk.speech(300);
  talk.partial("a table for");
  talk.silence(70);
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "draft: a table for"));
  talk.speech(100);
  talk.partial("a table for two");
  EXPECT_THAT(talk.done(), ElementsAre("drop_draft", "read_ahead: a table for "));
  talk.silence(210);
  EXPECT_THAT(talk.done(), ElementsAre("draft: a table for two", "end_utterance"));
  talk.final("a table for ten");
  EXPECT_THAT(talk.done(), ElementsAre("drop_draft", "commit: a table for ten"));
}

TEST(TurnTaker, AClickOrABreathGetsNoAnswer) {
  Conversation talk;
  talk.speech(20);
  talk.silence(1000);
  EXPECT_THAT(talk.done(), IsEmpty()) << "a click";
  talk.speech(200);
  talk.silence(200);
  talk.final(" ...");
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "end_utterance")) << "a breath";
  EXPECT_EQ(talk.taker.phase(), Phase::quiet);
}

TEST(TurnTaker, SpeechOverAReplyPausesItAndWordsEndIt) {
  Conversation talk;
  talk.say("tell me a story");
  talk.silence(3000);
  talk.done();
  const Time begun = talk.now;
  talk.speech(40);
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance"));
  EXPECT_LE(talk.now - begun, std::chrono::milliseconds(50));
  talk.speech(300);
  talk.partial("no wait");
  EXPECT_THAT(talk.done(), ElementsAre("interrupt")) << "no word stood in two transcripts yet";
  talk.silence(200);
  talk.final("no wait");
  EXPECT_THAT(talk.done(), ElementsAre("draft: no wait", "end_utterance", "commit: no wait"));
}

TEST(TurnTaker, ACoughAndAListenersSoundAreUndone) {
  Conversation talk;
  talk.say("tell me a story");
  talk.silence(3000);
  talk.done();
  talk.speech(100);
  talk.silence(200);
  talk.final("");
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance", "end_utterance", "resume"));
  EXPECT_EQ(talk.taker.phase(), Phase::replying);
  talk.silence(500);
  talk.speech(200);
  talk.partial("uh-huh");
  talk.silence(200);
  talk.final("Uh-huh, yeah.");
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance", "end_utterance", "resume"));
  talk.silence(100);
  talk.speech(2200);
  EXPECT_THAT(talk.done(),
              ElementsAre("pause", "begin_utterance", "drop_utterance", "resume", "pause", "begin_utterance"))
      << "long noise without a word";
}

TEST(TurnTaker, AnAnswerToTheLastWordsOfAReplyIsNoListenersSound) {
  Conversation talk;
  talk.say("book it");
  talk.silence(3000);
  talk.taker.left_to_play(std::chrono::milliseconds(300));
  talk.done();
  talk.speech(200);
  talk.silence(200);
  talk.final("yes");
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance", "end_utterance", "interrupt", "commit: yes"));
}

TEST(TurnTaker, AStopWordEndsTheReplyAndAsksForNone) {
  Conversation talk;
  talk.say("tell me a story");
  talk.silence(3000);
  talk.done();
  talk.speech(200);
  talk.partial("stop");
  talk.silence(200);
  talk.final("Stop!");
  EXPECT_EQ(talk.taker.phase(), Phase::quiet);
  EXPECT_THAT(talk.done(), testing::Not(testing::Contains(testing::StartsWith("commit"))));
}

TEST(TurnTaker, AnInterruptionLosesNothingThatTheUserSays) {
  Conversation talk;
  talk.interrupt();
  talk.speech(500);
  talk.partial("what is");
  talk.interrupt();
  talk.partial("what is your name");
  talk.silence(200);
  talk.interrupt();
  talk.final("what is your name");
  const std::vector<std::string> turn = talk.done();
  EXPECT_THAT(turn, testing::Not(testing::Contains("interrupt")));
  EXPECT_EQ(turn.back(), "commit: what is your name");
  talk.interrupt();
  EXPECT_THAT(talk.done(), ElementsAre("interrupt"));
  talk.interrupt();
  EXPECT_THAT(talk.done(), IsEmpty());

  // Of one who speaks over the reply already: the reply ends, and his words are a turn of their own.
  talk.say("tell me a story");
  talk.done();
  talk.silence(100);
  talk.speech(300);
  talk.interrupt();
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance", "interrupt"));
  talk.partial("thank you");
  talk.silence(200);
  talk.final("thank you");
  EXPECT_EQ(talk.done().back(), "commit: thank you");
  talk.silence(100);
  talk.speech(300);
  talk.interrupt();
  talk.done();
  talk.silence(200);
  talk.final("");
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance")) << "a cough";
  EXPECT_EQ(talk.taker.phase(), Phase::quiet);
}

TEST(TurnTaker, ATurnThatGoesOnReplacesItsReply) {
  Conversation talk;
  talk.say("fly me to austin");
  talk.done();
  talk.silence(200);
  talk.speech(200);
  talk.partial("no boston");
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance", "replace", "read_ahead: fly me to austin"));
  talk.silence(200);
  talk.final("no boston");
  EXPECT_THAT(talk.done(),
              ElementsAre("draft: fly me to austin no boston", "end_utterance", "commit: fly me to austin no boston"));
}

TEST(TurnTaker, ASentenceThatSoundsUnfinishedIsWaitedForLonger) {
  Conversation talk;
  talk.speech(500);
  talk.partial("put it on the");
  talk.silence(400);
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "draft: put it on the"));
  talk.silence(100);
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance"));
  talk.final("put it on the");
  talk.silence(1400);
  talk.done();
  talk.speech(100);
  talk.partial("table");
  EXPECT_THAT(talk.done(), testing::Contains("replace"));
}

TEST(TurnTaker, NoDraftWhileAToolRunsAndNoneWhenSwitchedOff) {
  Conversation talk;
  talk.taker.tool_open(true);
  talk.say("and the other one");
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "end_utterance", "commit: and the other one"));
  Conversation plain({.read_ahead = false, .draft = false, .ending = false});
  plain.say("hello there");
  EXPECT_THAT(plain.done(), ElementsAre("begin_utterance", "end_utterance", "commit: hello there"));
}

TEST(TurnTaker, ARecogniserThatNeverEndsIsNotWaitedFor) {
  Conversation talk;
  talk.speech(300);
  talk.partial("hello");
  talk.silence(200);
  talk.done();
  talk.silence(5010);
  EXPECT_THAT(talk.done(), ElementsAre("drop_utterance", "commit: hello"));
  const int64_t committed = talk.taker.revision();
  talk.final("hello again");
  EXPECT_THAT(talk.done(), IsEmpty());
  EXPECT_EQ(talk.taker.revision(), committed);
  Conversation endless;
  endless.speech(60'100);
  EXPECT_THAT(endless.done(), testing::Contains("end_utterance"));
}

TEST(TurnTaker, RulesOutOfRangeAreRefused) {
  EXPECT_THROW(TurnTaker({.end_ms = -1}), Error);
  EXPECT_THROW(TurnTaker({.speech = std::nanf("")}), Error);
  EXPECT_THROW(TurnTaker({.max_drafts = -1}), Error);
  EXPECT_THROW(TurnTaker({.max_draft_tokens = 0}), Error);
  EXPECT_THROW(TurnTaker({.max_early_work = -0.1F}), Error);
  EXPECT_THROW(TurnTaker({.ends_above = 1.5F}), Error);
  EXPECT_THROW(TurnTaker({.goes_on_below = std::nanf("")}), Error);
}

/// Any order of reports keeps the promises of the header.
TEST(TurnTaker, AnyConversationKeepsOneOwner) {
  const std::vector<std::string> words = {"turn", "on", "the", "light", "uh-huh", "no", "stop", ""};
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Conversation talk{TurnRules{.max_early_work = 1000}};
    int64_t open = 0;    // utterance
    int64_t waited = 0;  // for its final
    int64_t newest = 0;  // revision asked for
    int64_t reply = 0;   // under way
    bool paused = false;
    bool soft = false;
    std::optional<std::string> drafted;
    std::string text;
    std::string asked;
    for (int step = 0; step < 400; ++step) {
      switch (upto(8)) {
        case 0: talk.speech(10 * upto(60)); break;
        case 1: talk.silence(10 * upto(40)); break;
        case 2: talk.partial(text = join(text, words[static_cast<size_t>(upto(8))])); break;
        case 3: talk.final(upto(3) == 0 ? "" : text), text.clear(); break;
        case 4:
          if (upto(3) == 0) talk.played();
          break;
        case 5: talk.ending(asked, upto(3) * 0.4); break;
        case 6:
          if (upto(3) == 0) talk.interrupt();
          break;
        default: talk.taker.tool_open(upto(8) == 0); break;
      }
      for (const Action& action : std::exchange(talk.actions, {})) {
        switch (action.kind) {
          case Kind::begin_utterance:
            ASSERT_EQ(open, 0);
            ASSERT_GT(action.number, waited);
            open = action.number;
            break;
          case Kind::end_utterance:
          case Kind::drop_utterance:
            if (action.kind == Kind::drop_utterance && open == 0) {
              ASSERT_EQ(action.number, waited) << "of one that was ended";
              break;
            }
            ASSERT_EQ(action.number, open);
            open = 0;
            waited = action.number;
            break;
          case Kind::read_ahead: ASSERT_FALSE(action.text.empty()); break;
          case Kind::ask_ending:
            ASSERT_FALSE(words_of(action.text).empty());
            asked = action.text;
            break;
          case Kind::soft_commit:
            ASSERT_TRUE(drafted);
            ASSERT_FALSE(soft);
            ASSERT_EQ(action.number, newest);
            soft = true;
            reply = newest;
            break;
          case Kind::draft:
            ASSERT_FALSE(drafted);
            ASSERT_GT(action.number, newest);
            newest = action.number;
            drafted = action.text;
            break;
          case Kind::drop_draft:
            ASSERT_TRUE(drafted);
            ASSERT_FALSE(soft) << "it was heard";
            drafted.reset();
            break;
          case Kind::commit:
            ASSERT_FALSE(words_of(action.text).empty());
            if (drafted) {
              ASSERT_EQ(action.number, newest);
              ASSERT_TRUE(same_words(*drafted, action.text));
            } else {
              ASSERT_GT(action.number, newest);
            }
            drafted.reset();
            soft = false;
            newest = reply = action.number;
            break;
          case Kind::pause:
            ASSERT_FALSE(paused);
            ASSERT_EQ(action.number, reply);
            paused = true;
            break;
          case Kind::replace:
          case Kind::interrupt:
          case Kind::resume:
            ASSERT_TRUE(paused || action.kind == Kind::interrupt || (soft && action.kind == Kind::replace))
                << to_string(action.kind);
            ASSERT_EQ(action.number, reply);
            paused = false;
            if (action.kind == Kind::replace && soft) {
              drafted.reset();
              soft = false;
            }
            break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace prosa::voice
