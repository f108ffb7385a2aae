// Turns that the model finds over: answered from the soft end on, taken back where the user goes on; and what early
// work may cost. On a clock that the test moves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "voice_conversation.h"

namespace prosa::voice {
namespace {

using test::Conversation;
using testing::ElementsAre;
using testing::IsEmpty;

/// A turn that the model finds over, heard from its soft end on: revision 1.
Conversation softly_answered() {
  Conversation talk{TurnRules{}};
  talk.speech(500);
  talk.partial("turn on the light");
  talk.silence(40);
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "ask_ending: turn on the light"));
  talk.ending("turn on the light", 0.9);
  EXPECT_THAT(talk.done(), ElementsAre("draft: turn on the light")) << "at once";
  talk.silence(20);
  EXPECT_THAT(talk.done(), IsEmpty());
  talk.silence(10);
  EXPECT_THAT(talk.done(), ElementsAre("soft_commit: turn on the light"));
  return talk;
}

TEST(SoftCommit, IsHeardAtTheSoftEndAndCommittedWhenTheTurnIsOver) {
  Conversation talk = softly_answered();
  talk.silence(130);
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance"));
  talk.final("Turn on the light.");
  EXPECT_THAT(talk.done(), ElementsAre("commit: Turn on the light."));
  EXPECT_EQ(talk.taker.phase(), Phase::replying);
  talk.silence(1000);
  talk.speech(50);
  EXPECT_THAT(talk.done(), ElementsAre("pause", "begin_utterance"));
}

TEST(SoftCommit, IsSilentAtOnceAndReplacedWhenTheUserGoesOn) {
  Conversation talk = softly_answered();
  talk.speech(40);
  EXPECT_THAT(talk.done(), ElementsAre("pause"));
  talk.speech(200);
  talk.partial("turn on the light in the kitchen");
  EXPECT_THAT(talk.done(), ElementsAre("replace", "read_ahead: turn on the light "));
  talk.silence(210);
  talk.final("turn on the light in the kitchen");
  EXPECT_THAT(talk.done(),
              ElementsAre("ask_ending: turn on the light in the kitchen", "draft: turn on the light in the kitchen",
                          "end_utterance", "commit: turn on the light in the kitchen"));
}

TEST(SoftCommit, IsReplacedWhereTheLastTranscriptSaysOtherwise) {
  Conversation talk = softly_answered();
  talk.silence(130);
  talk.final("turn off the light");
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance", "replace", "commit: turn off the light"));
  Conversation nothing = softly_answered();
  nothing.silence(130);
  nothing.final("");
  EXPECT_THAT(nothing.done(), ElementsAre("end_utterance", "replace"));
  EXPECT_EQ(nothing.taker.phase(), Phase::quiet);
}

TEST(SoftCommit, GoesOnAfterANoiseThatWasNoWord) {
  Conversation talk = softly_answered();
  talk.speech(50);
  talk.silence(100);
  EXPECT_THAT(talk.done(), ElementsAre("pause", "resume"));
  talk.silence(100);
  EXPECT_THAT(talk.done(), ElementsAre("end_utterance"));
  talk.speech(50);  // while the recogniser is at its last word
  EXPECT_THAT(talk.done(), ElementsAre("pause"));
  talk.silence(20);
  EXPECT_THAT(talk.done(), ElementsAre("resume"));
  talk.speech(50);
  talk.final("turn on the light");
  EXPECT_THAT(talk.done(), ElementsAre("pause", "commit: turn on the light"));
  talk.silence(210);
  talk.final("");
  EXPECT_THAT(talk.done(), ElementsAre("begin_utterance", "end_utterance", "resume")) << "as with any reply";
}

TEST(SoftCommit, AnInterruptionBeforeTheTurnIsOverKeepsItsWords) {
  Conversation talk = softly_answered();
  talk.silence(50);
  talk.interrupt();
  EXPECT_THAT(talk.done(), ElementsAre("drop_utterance", "commit: turn on the light", "interrupt"));
  EXPECT_EQ(talk.taker.phase(), Phase::quiet);
  talk.final("turn on the light");
  EXPECT_THAT(talk.done(), IsEmpty()) << "nobody waits for it";
  talk.say("and the radio");
  EXPECT_THAT(talk.done(), testing::Contains("commit: and the radio"));

  Conversation closing = softly_answered();
  closing.silence(130);
  closing.interrupt();
  EXPECT_THAT(closing.done(), ElementsAre("end_utterance", "commit: turn on the light", "interrupt"));

  Conversation typed = softly_answered();
  typed.type("never mind");
  EXPECT_THAT(typed.done(),
              ElementsAre("drop_utterance", "commit: turn on the light", "interrupt", "commit: never mind"));
}

TEST(SoftCommit, AnInterruptionByOneWhoGoesOnLeavesTheTurnToHim) {
  Conversation talk = softly_answered();
  talk.speech(40);
  talk.interrupt();
  EXPECT_THAT(talk.done(), ElementsAre("pause", "replace"));
  talk.speech(200);
  talk.partial("turn on the light in the kitchen");
  talk.silence(210);
  talk.final("turn on the light in the kitchen");
  EXPECT_THAT(talk.done(), testing::Contains("commit: turn on the light in the kitchen"));
}

TEST(SoftCommit, NeedsWordsThatStandAndASignAndCanBeSwitchedOff) {
  const auto soft = [](const TurnRules& rules, const std::string& words, std::optional<double> probability) {
    Conversation talk{rules};
    talk.speech(300);
    talk.partial(words);
    talk.silence(40);
    if (probability) talk.ending(words, *probability);
    talk.silence(60);
    return testing::Matches(testing::Contains("soft_commit: " + words))(talk.done());
  };
  EXPECT_TRUE(soft({}, "stop the music", 0.5));
  EXPECT_FALSE(soft({}, "stop the music", 0.01));
  EXPECT_FALSE(soft({}, "stop the music", std::nullopt)) << "no answer yet";
  EXPECT_FALSE(soft({}, "stop the", 0.5)) << "against the words";
  EXPECT_FALSE(soft({.soft_commit = false}, "stop the music", 0.5));
  EXPECT_FALSE(soft({.ending = false}, "stop the music", 0.5)) << "nobody asked";
  EXPECT_FALSE(soft({.draft = false}, "stop the music", 0.5));
  Conversation talk{TurnRules{}};
  talk.speech(300);
  talk.silence(60);
  talk.partial("stop the music");  // so new that it may still change
  talk.silence(10);
  talk.ending("stop the music", 0.9);
  talk.silence(20);
  EXPECT_THAT(talk.done(), testing::Not(testing::Contains("soft_commit: stop the music")));
  talk.silence(40);
  EXPECT_THAT(talk.done(), ElementsAre("soft_commit: stop the music"));
}

TEST(TurnEndingRule, AnAnswerToOtherWordsSaysNothing) {
  Conversation talk{TurnRules{}};
  talk.speech(300);
  talk.partial("turn on");
  talk.silence(40);
  talk.partial("turn on the light");
  talk.done();
  talk.ending("turn on", 0.9);
  talk.silence(40);
  EXPECT_THAT(talk.done(), ElementsAre("ask_ending: turn on the light", "draft: turn on the light"));
}

TEST(TurnEndingRule, AnImprobableEndIsWaitedForOnceTheModelHasFoundAnother) {
  Conversation talk{TurnRules{}};
  const auto waited = [&](double probability) {
    talk.speech(300);
    talk.partial("my name is");
    talk.silence(40);
    talk.ending("my name is", probability);
    int silent = 40;
    for (; talk.taker.phase() == Phase::speaking; silent += 10) talk.silence(10);
    talk.final("my name is");
    talk.played();
    talk.silence(3000);
    return silent;
  };
  EXPECT_EQ(waited(1e-6), 200) << "a model that finds no turn over says nothing with that";
  EXPECT_EQ(waited(0.5), 200);
  EXPECT_EQ(waited(1e-6), 500);
  EXPECT_EQ(waited(0.01), 200);
}

TEST(EarlyWork, IsLimitedByWhatItHasCost) {
  const auto drafts = [](int64_t lost, int64_t useful, const TurnRules& rules) {
    Conversation talk{rules};
    talk.taker.early_work(lost, useful);
    talk.speech(300);
    talk.partial("hello there");
    talk.silence(70);
    return testing::Matches(testing::Contains("draft: hello there"))(talk.done());
  };
  EXPECT_TRUE(drafts(0, 0, {})) << "the first turn";
  EXPECT_FALSE(drafts(20, 0, {}));
  EXPECT_TRUE(drafts(300, 1000, {}));
  EXPECT_FALSE(drafts(380, 1000, {}));
  EXPECT_TRUE(drafts(380, 1000, {.max_early_work = 1}));
  EXPECT_FALSE(drafts(0, 1000, {.max_early_work = 0}));
}

}  // namespace
}  // namespace prosa::voice
