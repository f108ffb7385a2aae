// The pipeline as a whole, with the embedded model between ears and a mouth made for tests: sound stands for words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "prosa/voice.h"
#include "voice_talk.h"

namespace prosa {
namespace {

using Kind = VoiceEvent::Kind;
using test::Loudness;
using test::Mood;
using test::Script;
using test::ScriptedEars;
using test::Talk;
using test::ToneMouth;

TEST(VoicePipeline, ASpokenTurnIsAnsweredAloud) {
  Talk talk;
  talk.say("Tell me a story.");
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_EQ(turns[0].user, "Tell me a story.");
  EXPECT_FALSE(turns[0].reply.empty());
  EXPECT_EQ(turns[0].heard, turns[0].reply);
  EXPECT_TRUE(turns[0].draft_held);
  EXPECT_TRUE(turns[0].first_token && turns[0].first_sentence && turns[0].first_audio && turns[0].over);
  EXPECT_GT(talk.played, 10);
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].content, "Tell me a story.");
  EXPECT_EQ(history[1].content, turns[0].reply);
  EXPECT_GE(talk.count(Kind::read_ahead), 1);
  EXPECT_EQ(talk.count(Kind::error), 0);
}

TEST(VoicePipeline, TheSameWordsComeWithAndWithoutEarlyWork) {
  // Early work cuts the prompt at other places, which the bounds of the numbers allow for: the questions have answers
  // that the model is sure of.
  std::vector<std::string> replies;
  for (const bool early : {true, false}) {
    VoiceOptions options;
    options.turns.draft = options.turns.read_ahead = early;
    options.system = "Be kind.";
    Talk talk(options);
    talk.say("What is the capital of France?");
    talk.listen();
    talk.say("And of Japan?");
    talk.listen();
    for (const TurnRecord& turn : talk.pipeline->turns()) replies.push_back(turn.reply);
  }
  ASSERT_EQ(replies.size(), 4U);
  EXPECT_EQ(replies[0], replies[2]);
  EXPECT_EQ(replies[1], replies[3]);
}

TEST(VoicePipeline, AnInterruptionKeepsWhatWasHeard) {
  Talk talk;
  talk.say("Tell me a story.");
  talk.listen_a_little(60);  // later than a turn reopens
  talk.hears("No, wait");
  talk.sound(50, 1);
  EXPECT_THAT(talk.last_played, testing::Each(0)) << "silent within 50 ms";
  talk.sound(150, 1);
  talk.silence(250);
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 2U);
  EXPECT_TRUE(turns[0].interrupted);
  EXPECT_LT(turns[0].heard.size(), turns[0].reply.size());
  EXPECT_TRUE(turns[0].reply.starts_with(turns[0].heard));
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 4U);
  EXPECT_EQ(history[1].content, turns[0].heard);
  EXPECT_EQ(history[2].content, "No, wait");
  EXPECT_LT(turns[1].computed_tokens, 40) << "what was heard, and the new words";
}

TEST(VoicePipeline, ACoughIsUndone) {
  Talk talk;
  talk.say("Tell me a story.");
  talk.listen_a_little(60);  // later than a turn reopens
  talk.hears("");
  talk.sound(100, 1);
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_FALSE(turns[0].interrupted);
  EXPECT_EQ(turns[0].heard, turns[0].reply);
  EXPECT_EQ(talk.count(Kind::paused), 1);
  EXPECT_EQ(talk.count(Kind::resumed), 1);
  EXPECT_GE(talk.played, static_cast<int>(turns[0].reply.size() * ToneMouth::kFrames * 8 / 10))
      << "all of it was played";
}

TEST(VoicePipeline, ATurnThatGoesOnReplacesItsReply) {
  Talk talk;
  talk.say("Fly me to Austin");
  talk.say("no, Boston");
  talk.listen();
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].content, "Fly me to Austin no, Boston");
}

TEST(VoicePipeline, AMouthThatDiesLosesNoTextAndTheNextTurnWorks) {
  Talk talk;
  talk.script.mouth_left = 5;
  talk.script.mouth = Mood::dies;
  talk.say("Tell me a story.");
  talk.listen();
  EXPECT_EQ(talk.count(Kind::error), 1);
  talk.say("And what about ships?");
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 2U);
  EXPECT_FALSE(turns[0].reply.empty());
  EXPECT_GT(talk.played, 10);
  EXPECT_EQ(talk.pipeline->history().size(), 4U);
}

TEST(VoicePipeline, EarsThatDieLoseATurnAndTheNextOneWorks) {
  Talk talk;
  talk.script.ears = Mood::dies;
  talk.say("Tell me a story.");
  talk.listen();
  EXPECT_TRUE(talk.pipeline->turns().empty());
  EXPECT_GE(talk.count(Kind::error), 1);
  talk.script.ears = Mood::well;
  talk.say("And what about ships?");
  talk.listen();
  EXPECT_EQ(talk.pipeline->turns().size(), 1U);
}

TEST(VoicePipeline, AGreetingIsSpokenFirstAndIsPartOfTheHistory) {
  VoiceOptions options;
  options.greeting = "Good morning, how can I help you?";
  Talk talk(options);
  talk.listen();
  EXPECT_GT(talk.played, 20);
  ASSERT_EQ(talk.pipeline->history().size(), 1U);
  EXPECT_EQ(talk.pipeline->history()[0].content, options.greeting);
}

TEST(VoicePipeline, GreetingAndPromptAreReadyBeforeAnybodyConnects) {
  const Model model = Model::from_pretrained("", LoadOptions{.threads = 1, .context = 2048});
  VoiceOptions options;
  options.greeting = "Good morning, how can I help you?";
  options.system = "You are the voice of a lamp.";
  for (int i = 0; i < 40; ++i) options.system += " Say as little as you can, and never shout at anybody.";
  options.tools = {{R"({"type": "function", "function": {"name": "light", "description": "Switches the light"}})"}};
  Script script;
  VoicePipeline pipeline(
      Chat(model),
      {std::make_unique<Loudness>(), std::make_unique<ScriptedEars>(script), std::make_unique<ToneMouth>(script)},
      options);
  // No push() so far: nobody has connected.
  std::vector<int16_t> frame(kFrameSamples, 0);
  for (int waited = 0; waited < 10'000 && frame[0] == 0; ++waited) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pipeline.pull(frame);
  }
  EXPECT_NE(frame[0], 0) << "the greeting can be heard";
  for (int waited = 0; waited < 20'000 && model.memory_footprint().stored_states == 0; ++waited)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  Chat other(model);
  SamplingConfig sampling{.max_tokens = 1, .disable_thinking = true};
  const Reply reply = other.generate({{Role::system, options.system}, {Role::user, "Hello"}}, sampling, options.tools);
  EXPECT_GT(reply.stats.cached_tokens, reply.stats.prompt_tokens * 9 / 10) << "system message and tools were read";
}

TEST(VoicePipeline, ATypedTurnEndsWhatIsSaidAndIsAnswered) {
  Talk talk;
  talk.say("Tell me a story.");
  talk.listen_a_little();
  talk.pipeline->type("And what about ships?");
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 2U);
  EXPECT_TRUE(turns[0].interrupted);
  EXPECT_EQ(turns[1].user, "And what about ships?");
  talk.pipeline->type("One more");
  talk.pipeline->interrupt();
  talk.listen();
  EXPECT_EQ(talk.pipeline->turns().size(), 3U);
  EXPECT_THROW(talk.pipeline->type("\xff"), Error);
}

TEST(VoicePipeline, WhatIsMissingOrOutOfRangeIsRefused) {
  Script script;
  const auto parts = [&] {
    return VoiceParts{std::make_unique<Loudness>(), std::make_unique<ScriptedEars>(script),
                      std::make_unique<ToneMouth>(script)};
  };
  const auto refused = [&](VoiceParts given, VoiceOptions options) {
    EXPECT_THROW(VoicePipeline(Chat::from_pretrained(PROSA_TINY_CHAT), std::move(given), options), Error);
  };
  for (int missing = 0; missing < 3; ++missing) {
    VoiceParts some = parts();
    if (missing == 0) some.activity.reset();
    if (missing == 1) some.hears.reset();
    if (missing == 2) some.speaks.reset();
    refused(std::move(some), {});
  }
  VoiceOptions options;
  options.play_rate = 16'001;
  refused(parts(), options);
  options = {};
  options.system = "\xff";
  refused(parts(), options);
  options = {};
  options.turns.end_ms = -1;
  refused(parts(), options);
  Talk talk;
  EXPECT_THROW(talk.pipeline->push(std::vector<int16_t>(100)), Error);
}

/// Whatever is said and whenever: nothing hangs, and the history alternates.
TEST(VoicePipeline, RandomConversationsKeepTheirOrder) {
  const std::vector<std::string> lines = {"Tell me a story.", "And then?", "uh-huh", "No, wait", "stop", ""};
  for (unsigned seed = 0; seed < 3; ++seed) {
    std::mt19937 random(seed);
    const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Talk talk;
    for (int turn = 0; turn < 12; ++turn) {
      if (upto(8) == 0) {
        talk.script.mouth_left = upto(30);
        talk.script.mouth = Mood::dies;
      }
      talk.script.ears = upto(10) == 0 ? Mood::dies : Mood::well;
      talk.say(lines[static_cast<size_t>(upto(static_cast<int>(lines.size())))]);
      talk.silence(upto(3) == 0 ? 0 : 100 * upto(20));
      if (upto(10) == 0) talk.pipeline->type("typed");
      if (upto(10) == 0) talk.pipeline->interrupt();
    }
    talk.listen();
    const auto history = talk.pipeline->history();
    for (size_t i = 1; i < history.size(); ++i)
      EXPECT_FALSE(history[i].role == Role::assistant && history[i - 1].role == Role::assistant) << i;
  }
}

}  // namespace
}  // namespace prosa
