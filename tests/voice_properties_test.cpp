// What holds of every voice conversation, with a model whose replies the test writes, so that tokens and sound are
// known to the last one: what a turn costs, what of it is heard, what is never said, and parts that fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>

#include "prosa/voice.h"
#include "scripted_model.h"
#include "voice_talk.h"

namespace prosa {
namespace {

using Kind = VoiceEvent::Kind;
using test::Mood;
using test::ScriptedModel;
using test::Talk;
using testing::StartsWith;

constexpr const char* kTide =
    "the sea is wide and deep and it moves all day with the moon and the wind and at night it glows a little";

/// Of the prompt: what the user said last.
std::string last_words(std::string_view prompt) {
  const size_t begin = prompt.rfind("<|im_start|>user\n") + std::string_view("<|im_start|>user\n").size();
  return std::string(prompt.substr(begin, prompt.find("<|im_end|>", begin) - begin));
}

std::string letters(std::string text) {
  std::erase(text, ' ');
  return text;
}

VoiceOptions plain() {
  VoiceOptions options;
  options.system = "be kind";
  options.sampling.max_tokens = 400;
  return options;
}

/// Every event that is of a reply belongs to the newest turn that was committed, and to none that ended before.
void expect_nothing_superseded(const std::vector<VoiceEvent>& events) {
  int64_t newest = 0;
  std::set<int64_t> ended;
  for (const VoiceEvent& event : events) {
    switch (event.kind) {
      case Kind::commit:
      case Kind::soft_commit:
        EXPECT_GE(event.revision, newest);
        newest = event.revision;
        break;
      case Kind::replaced:
      case Kind::interrupted: ended.insert(event.revision); break;
      case Kind::first_audio:
        EXPECT_EQ(event.revision, newest);
        EXPECT_FALSE(ended.contains(event.revision)) << event.revision;
        break;
      default: break;
    }
  }
}

TEST(VoiceProperties, ANextTurnComputesWhatWasHeardAndTheNewWords) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  VoiceOptions options = plain();
  options.turns.draft = options.turns.ending = false;
  Talk talk(scripted.model, options);
  talk.say("tell me of the sea");
  talk.listen_a_little(120);
  scripted.backend->prefills.clear();
  talk.say("no wait");
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 2U);
  ASSERT_FALSE(turns[0].heard.empty());
  EXPECT_TRUE(std::string(kTide).starts_with(turns[0].heard));
  int64_t computed = 0;
  for (const int64_t tokens : scripted.backend->prefills) computed += tokens;
  // And the reply to the second turn, which the next one would see.
  const int64_t reply = scripted.tokens_of("<|im_start|>assistant\n" + turns[1].reply + "<|im_end|>\n");
  EXPECT_EQ(computed - reply, scripted.tokens_of("<|im_start|>assistant\n" + turns[0].heard +
                                                 "<|im_end|>\n<|im_start|>user\nno wait<|im_end|>\n") +
                                  scripted.generation_prompt());
}

TEST(VoiceProperties, AFalseInterruptionGoesOnAtTheSoundThatWasHeard) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  Talk talk(scripted.model, plain());
  talk.say("tell me of the sea");
  for (int cough = 0; cough < 3; ++cough) {
    talk.listen_a_little(50);
    talk.hears(cough == 1 ? "uh-huh" : "");
    const int before = talk.played;
    talk.sound(60, 1);
    EXPECT_THAT(talk.last_played, testing::Each(0)) << "silent within 50 ms, and the frame that was being played";
    EXPECT_LE(talk.played - before, 5);
    talk.sound(50, 1);
    talk.silence(300);
  }
  talk.listen();
  EXPECT_EQ(talk.count(Kind::paused), 3);
  EXPECT_EQ(talk.count(Kind::resumed), 3);
  ASSERT_EQ(talk.pipeline->turns().size(), 1U);
  EXPECT_EQ(talk.pipeline->turns()[0].heard, kTide);
  EXPECT_EQ(letters(talk.said()), letters(kTide)) << "nothing was left out, and nothing said twice";
}

TEST(VoiceProperties, ATurnThatSoundsOverIsAnsweredAtTheSoftEnd) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  VoiceOptions options = plain();
  options.turns.end_ms = 400;
  Talk talk(scripted.model, options);
  talk.speak("tell me of the sea.");
  talk.silence(200);
  EXPECT_GT(talk.played, 5) << "the turn is not over, and the answer is heard";
  EXPECT_EQ(talk.count(Kind::commit), 0);
  EXPECT_TRUE(talk.pipeline->history().size() == 1) << "the system message";
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_TRUE(turns[0].soft);
  EXPECT_TRUE(turns[0].draft_held);
  EXPECT_LT(*turns[0].first_audio, turns[0].committed);
  EXPECT_EQ(turns[0].heard, kTide);
  EXPECT_EQ(letters(talk.said()), letters(kTide)) << "once";
  EXPECT_EQ(talk.pipeline->history().size(), 3U);
}

TEST(VoiceProperties, OneWhoGoesOnAfterASoftEndIsNotTalkedOver) {
  ScriptedModel scripted([](std::string_view prompt) { return "about " + last_words(prompt) + " i know nothing"; });
  VoiceOptions options = plain();
  options.turns.end_ms = 400;
  Talk talk(scripted.model, options);
  talk.speak("fly me to austin.");
  talk.silence(200);
  ASSERT_GT(talk.played, 5);
  talk.hears("fly me to austin. no, boston.");
  const int before = talk.played;
  talk.sound(50, 1);
  EXPECT_THAT(talk.last_played, testing::Each(0)) << "silent within 50 ms";
  EXPECT_LE(talk.played - before, 5);
  talk.sound(550, 1);
  EXPECT_THAT(letters("about fly me to austin i know nothing"), StartsWith(letters(talk.said())));
  talk.silence(500);
  talk.listen();
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 3U) << "nothing of the first answer is left";
  EXPECT_EQ(history[1].content, "fly me to austin. no, boston.");
  EXPECT_EQ(letters(talk.said()), letters("about fly me to austin no boston i know nothing"));
  EXPECT_EQ(talk.count(Kind::replaced), 1);
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_GT(turns[0].lost_tokens, 0);
  expect_nothing_superseded(talk.events());
}

constexpr const char* kLight =
    R"({"type":"function","function":{"name":"light","description":"Switch it","parameters":{"type":"object","properties":{"state":{"type":"string"}}}}})";
constexpr const char* kCall =
    "<tool_call>\n<function=light>\n<parameter=state>\non\n</parameter>\n</function>\n</tool_call>";

TEST(VoiceProperties, NoToolRunsBeforeTheTurnIsOver) {
  ScriptedModel scripted([](std::string_view prompt) -> std::string {
    if (prompt.find("<tool_response>") != std::string_view::npos) return "it is on";
    return std::string("one moment please\n\n") + kCall;
  });
  std::atomic<int> calls = 0;
  VoiceOptions options = plain();
  options.turns.end_ms = 600;
  options.speakable.patience_seconds = 0.01;  // of the clock, which is slower than the sound here
  options.tools = {{kLight}};
  options.on_tool = [&](const ToolCall& call) {
    EXPECT_EQ(call.name, "light");
    ++calls;
    return std::string("done");
  };
  Talk talk(scripted.model, options);
  talk.speak("turn on the light.");
  talk.silence(400);
  EXPECT_EQ(talk.count(Kind::soft_commit), 1);
  EXPECT_GT(talk.played, 5) << "what is said before the call is heard";
  EXPECT_EQ(calls, 0);
  talk.speak("turn on the light. in the kitchen.");  // the turn goes on: that call never was
  talk.silence(400);
  EXPECT_EQ(calls, 0);
  talk.silence(400);
  talk.listen();
  EXPECT_EQ(calls, 1);
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 5U);
  EXPECT_EQ(history[1].content, "turn on the light. in the kitchen.");
  EXPECT_EQ(history[2].tool_calls.size(), 1U);
  EXPECT_EQ(history[3].role, Role::tool);
  EXPECT_EQ(history[4].content, "it is on");
}

/// Between the soft end and the end of the turn: what the user said was answered aloud, and is the turn.
TEST(VoiceProperties, AnInterruptionAtTheSoftEndLosesNoWordAndCallsNoTool) {
  ScriptedModel scripted([](std::string_view) { return std::string("one moment please\n\n") + kCall; });
  std::atomic<int> calls = 0;
  VoiceOptions options = plain();
  options.turns.end_ms = 600;
  options.speakable.patience_seconds = 0.01;
  options.tools = {{kLight}};
  options.on_tool = [&](const ToolCall&) {
    ++calls;
    return std::string("done");
  };
  Talk talk(scripted.model, options);
  talk.speak("turn on the light.");
  talk.silence(400);
  ASSERT_EQ(talk.count(Kind::soft_commit), 1);
  ASSERT_EQ(talk.count(Kind::commit), 0);
  talk.pipeline->interrupt();
  talk.sound(50, 0);
  EXPECT_THAT(talk.last_played, testing::Each(0));
  talk.listen();
  EXPECT_EQ(calls, 0);
  const auto history = talk.pipeline->history();
  ASSERT_GE(history.size(), 2U);
  EXPECT_EQ(history[1].content, "turn on the light.");
  EXPECT_EQ(talk.count(Kind::interrupted), 1);
  ASSERT_EQ(talk.pipeline->turns().size(), 1U);
  EXPECT_TRUE(talk.pipeline->turns()[0].interrupted);
  expect_nothing_superseded(talk.events());
}

TEST(VoiceProperties, EarlyWorkIsCountedAndLimited) {
  ScriptedModel scripted([](std::string_view) { return "the sea is wide and deep and it moves all day"; });
  Talk talk(scripted.model, plain());
  int64_t lost = 0;
  int64_t useful = 0;
  for (int turn = 0; turn < 20; ++turn) {
    // A user who hesitates: each pause is drafted for, and no draft holds but the last.
    std::string words = "well";
    for (const char* more : {" tell me", " of the sea.", " or rather", " of the moon"}) {
      words += more;
      talk.hears(words);
      talk.sound(300, 1);
      talk.silence(120);
    }
    talk.silence(200);
    talk.listen();
  }
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 20U);
  for (const TurnRecord& turn : turns) {
    lost += turn.lost_tokens;
    useful += turn.useful_tokens;
    EXPECT_GE(turn.useful_tokens, turn.generated_tokens + turn.computed_tokens);
  }
  EXPECT_GT(lost, 0);
  EXPECT_LE(static_cast<double>(lost), 0.4 * static_cast<double>(useful)) << lost << " beside " << useful;
  RecordProperty("lost", static_cast<int>(lost));
  RecordProperty("useful", static_cast<int>(useful));
}

TEST(VoiceProperties, WorkWithoutAnyOfItEarlyIsAllUseful) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  VoiceOptions options = plain();
  options.turns.draft = options.turns.ending = options.turns.read_ahead = false;
  std::vector<int64_t> useful;
  for (const bool early : {false, true}) {
    if (early) options.turns = {};
    Talk talk(scripted.model, options);
    talk.say("tell me of the sea.");
    talk.listen();
    ASSERT_EQ(talk.pipeline->turns().size(), 1U);
    const TurnRecord turn = talk.pipeline->turns()[0];
    useful.push_back(turn.useful_tokens);
    EXPECT_TRUE(early || turn.lost_tokens == 0);
  }
  EXPECT_EQ(useful[0], useful[1]) << "what the turn would have cost without early work";
}

TEST(VoiceProperties, AReplyOfNothingButNoiseIsNone) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  Talk talk(scripted.model, plain());
  for (const char* words : {"", " ... ", "!"}) {
    talk.say(words);
    talk.listen();
  }
  EXPECT_TRUE(talk.pipeline->turns().empty());
  EXPECT_EQ(talk.played, 0);
}

TEST(VoiceProperties, EndlessTranscriptsEndWithTheTurn) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  Talk talk(scripted.model, plain());
  talk.script.ears = Mood::endless;
  talk.say("this and that and more of it");
  talk.listen();
  talk.script.ears = Mood::well;
  talk.say("and now this");
  talk.listen();
  ASSERT_GE(talk.pipeline->turns().size(), 1U);
  EXPECT_EQ(talk.pipeline->turns().back().user, "and now this");
}

TEST(VoiceProperties, ARecogniserThatNeverEndsIsLeftBehind) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  VoiceOptions options = plain();
  options.turns.final_ms = 300;
  Talk talk(scripted.model, options);
  talk.script.ears = Mood::hangs;
  talk.speak("tell me of the sea");
  talk.silence(700);
  EXPECT_EQ(talk.count(Kind::commit), 1) << "with the words that were there";
  EXPECT_EQ(talk.count(Kind::error), 1);
  talk.script.ears = Mood::well;
  talk.listen();
  talk.say("and of the moon");
  talk.listen();
  ASSERT_EQ(talk.pipeline->turns().size(), 2U);
  EXPECT_EQ(talk.pipeline->turns()[1].user, "and of the moon");
}

TEST(VoiceProperties, ASynthesizerThatHangsIsInterruptedLikeAnyOther) {
  ScriptedModel scripted([](std::string_view) { return kTide; });
  Talk talk(scripted.model, plain());
  for (const Mood mood : {Mood::hangs, Mood::endless}) {
    talk.script.mouth = mood;
    talk.say("tell me of the sea");
    talk.silence(3000);
    EXPECT_FALSE(talk.pipeline->idle());
    talk.script.mouth = Mood::well;
    talk.say("no wait for me");
    talk.listen();
  }
  EXPECT_EQ(talk.pipeline->turns().size(), 4U);
  EXPECT_EQ(talk.count(Kind::interrupted), 2);
}

/// Whatever is said and whenever, over words that the model finds over or not.
TEST(VoiceProperties, NothingSupersededIsEverSpoken) {
  const std::vector<std::string> lines = {"tell me a story.", "and then", "uh-huh", "no, wait.", "stop", "",
                                          "why is it."};
  for (unsigned seed = 0; seed < 3; ++seed) {
    ScriptedModel scripted([](std::string_view prompt) { return "to " + last_words(prompt) + " " + kTide; });
    std::mt19937 random(seed);
    const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Talk talk(scripted.model, plain());
    for (int turn = 0; turn < 12; ++turn) {
      talk.speak(lines[static_cast<size_t>(upto(static_cast<int>(lines.size())))]);
      talk.silence(10 * upto(upto(3) == 0 ? 300 : 40));
    }
    talk.silence(300);
    talk.listen();
    expect_nothing_superseded(talk.events());
    // What was played belongs to the turns, in their order: of a turn that is kept what was heard of it, and of one
    // that was replaced the begin of its reply.
    for (const TurnRecord& turn : talk.pipeline->turns()) {
      EXPECT_TRUE(turn.reply.starts_with(turn.heard)) << turn.heard;
      EXPECT_THAT(turn.reply, StartsWith("to " + turn.user.substr(0, 3)));
    }
    const auto history = talk.pipeline->history();
    for (size_t i = 1; i < history.size(); ++i)
      EXPECT_FALSE(history[i].role == Role::assistant && history[i - 1].role == Role::assistant) << i;
  }
}

}  // namespace
}  // namespace prosa
