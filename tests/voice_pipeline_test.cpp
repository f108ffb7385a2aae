// The pipeline as a whole, with the embedded model between ears and a mouth made for tests: sound stands for words.
//
// Ten milliseconds of sound pass in about one, so that a conversation of a minute is a test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "prosa/voice.h"

namespace prosa {
namespace {

using namespace std::chrono_literals;
using Kind = VoiceEvent::Kind;

/// Any sound is speech.
class Loudness final : public VoiceActivity {
 public:
  float process(std::span<int16_t> heard, std::span<const int16_t>) override {
    return std::any_of(heard.begin(), heard.end(), [](int16_t sample) { return sample != 0; }) ? 1.0F : 0.0F;
  }
  void reset() override {}
};

/// Hears what the test says, a word every 100 ms of sound.
struct Script {
  std::mutex mutex;
  std::string words;
  std::atomic<bool> dies = false;
};

class ScriptedEars final : public SpeechToText {
 public:
  explicit ScriptedEars(Script& script) : script_(script) {}
  void begin() override { loud_ = 0; }
  std::string push(std::span<const int16_t> samples) override {
    if (script_.dies) throw Error(ErrorCode::io, "the recogniser died", "ears");
    loud_ += std::count_if(samples.begin(), samples.end(), [](int16_t sample) { return sample != 0; });
    return words(static_cast<size_t>(loud_ / (kHeardRate / 10)));
  }
  std::string end() override { return loud_ < kHeardRate / 20 ? "" : words(1000); }
  void cancel() noexcept override {}

 private:
  std::string words(size_t count) {
    const std::lock_guard lock(script_.mutex);
    size_t at = 0;
    while (count-- > 0 && at < script_.words.size())
      at = std::min(script_.words.find(' ', at + 1), script_.words.size());
    return script_.words.substr(0, at);
  }
  Script& script_;
  int64_t loud_ = 0;
};

/// Forty milliseconds of sound a character.
class ToneMouth final : public TextToSpeech {
 public:
  explicit ToneMouth(std::atomic<int>& dies_after) : dies_after_(dies_after) {}
  [[nodiscard]] int rate() const override { return kHeardRate; }
  void speak(std::string_view text, const Sink& sink) override {
    cancelled_ = false;
    for (size_t i = 0; i < text.size() && !cancelled_; ++i) {
      if (dies_after_ >= 0 && dies_after_-- == 0) throw Error(ErrorCode::io, "the synthesizer died", "mouth");
      if (!sink(std::vector<int16_t>(size_t{kFrameSamples} * 4, 1000))) return;
    }
  }
  void cancel() noexcept override { cancelled_ = true; }

 private:
  std::atomic<int>& dies_after_;
  std::atomic<bool> cancelled_ = false;
};

class Talk {
 public:
  explicit Talk(VoiceOptions options = {}) {
    options.sampling.temperature = 0;
    options.sampling.max_tokens = 40;
    options.on_event = [this](const VoiceEvent& event) {
      const std::lock_guard lock(mutex);
      events.push_back(event);
    };
    static const Model model = Model::from_pretrained("", LoadOptions{.threads = 1, .context = 2048});
    pipeline =
        std::make_unique<VoicePipeline>(Chat(model),
                                        VoiceParts{std::make_unique<Loudness>(), std::make_unique<ScriptedEars>(script),
                                                   std::make_unique<ToneMouth>(mouth_dies_after)},
                                        options);
  }

  void sound(int milliseconds, int16_t loudness) {
    std::vector<int16_t> out(kFrameSamples);
    for (int i = 0; i < milliseconds / 10; ++i) {
      pipeline->pull(out);
      played += out[0] != 0 ? 1 : 0;
      last_played = out;
      pipeline->push(std::vector<int16_t>(kFrameSamples, loudness));
      std::this_thread::sleep_for(1ms);
    }
  }
  void silence(int milliseconds) { sound(milliseconds, 0); }
  void say(const std::string& words) {
    {
      const std::lock_guard lock(script.mutex);
      script.words = words;
    }
    sound(100 * static_cast<int>(1 + std::count(words.begin(), words.end(), ' ')), 1);
    silence(250);
  }
  /// Until the reply is over.
  void listen(int most_ms = 60'000) {
    for (int waited = 0; waited < most_ms && !pipeline->idle(); waited += 50) silence(50);
    ASSERT_TRUE(pipeline->idle());
  }
  /// Until some of the reply was played.
  void listen_a_little(int frames = 20) {
    const int before = played;
    for (int i = 0; i < 20'000 && played < before + frames; ++i) silence(10);
    ASSERT_GE(played, before + frames);
  }
  int count(Kind kind) {
    std::this_thread::sleep_for(20ms);
    const std::lock_guard lock(mutex);
    return static_cast<int>(
        std::count_if(events.begin(), events.end(), [&](const VoiceEvent& event) { return event.kind == kind; }));
  }

  Script script;
  std::atomic<int> mouth_dies_after = -1;
  std::mutex mutex;
  std::vector<VoiceEvent> events;
  int played = 0;  // frames that were not silent
  std::vector<int16_t> last_played;
  std::unique_ptr<VoicePipeline> pipeline;  // last: it uses all of the above
};

TEST(VoicePipeline, ASpokenTurnIsAnsweredAloud) {
  Talk talk;
  talk.say("Tell me about the sea.");
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_EQ(turns[0].user, "Tell me about the sea.");
  EXPECT_FALSE(turns[0].reply.empty());
  EXPECT_EQ(turns[0].heard, turns[0].reply);
  EXPECT_TRUE(turns[0].draft_held);
  EXPECT_TRUE(turns[0].first_token && turns[0].first_sentence && turns[0].first_audio && turns[0].over);
  EXPECT_GT(talk.played, 10);
  const auto history = talk.pipeline->history();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].content, "Tell me about the sea.");
  EXPECT_EQ(history[1].content, turns[0].reply);
  EXPECT_GE(talk.count(Kind::read_ahead), 1);
  EXPECT_EQ(talk.count(Kind::error), 0);
}

TEST(VoicePipeline, TheSameWordsComeWithAndWithoutEarlyWork) {
  std::vector<std::string> replies;
  for (const bool early : {true, false}) {
    VoiceOptions options;
    options.turns.draft = options.turns.read_ahead = early;
    options.system = "Be kind.";
    Talk talk(options);
    talk.say("Tell me about the sea.");
    talk.listen();
    talk.say("And what about ships?");
    talk.listen();
    for (const TurnRecord& turn : talk.pipeline->turns()) replies.push_back(turn.reply);
  }
  ASSERT_EQ(replies.size(), 4U);
  EXPECT_EQ(replies[0], replies[2]);
  EXPECT_EQ(replies[1], replies[3]);
}

TEST(VoicePipeline, AnInterruptionKeepsWhatWasHeard) {
  Talk talk;
  talk.say("Tell me about the sea.");
  talk.listen_a_little(60);  // later than a turn reopens
  talk.script.words = "No, wait";
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
  talk.say("Tell me about the sea.");
  talk.listen_a_little(60);  // later than a turn reopens
  talk.script.words = "";
  talk.sound(100, 1);
  talk.listen();
  const auto turns = talk.pipeline->turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_FALSE(turns[0].interrupted);
  EXPECT_EQ(turns[0].heard, turns[0].reply);
  EXPECT_EQ(talk.count(Kind::paused), 1);
  EXPECT_EQ(talk.count(Kind::resumed), 1);
  EXPECT_GE(talk.played, static_cast<int>(turns[0].reply.size() * 4 * 8 / 10)) << "all of it was played";
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
  talk.mouth_dies_after = 5;
  talk.say("Tell me about the sea.");
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
  talk.script.dies = true;
  talk.say("Tell me about the sea.");
  talk.listen();
  EXPECT_TRUE(talk.pipeline->turns().empty());
  EXPECT_GE(talk.count(Kind::error), 1);
  talk.script.dies = false;
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

TEST(VoicePipeline, ATypedTurnEndsWhatIsSaidAndIsAnswered) {
  Talk talk;
  talk.say("Tell me about the sea.");
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
  std::atomic<int> dies = -1;
  const auto parts = [&] {
    return VoiceParts{std::make_unique<Loudness>(), std::make_unique<ScriptedEars>(script),
                      std::make_unique<ToneMouth>(dies)};
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
      if (upto(8) == 0) talk.mouth_dies_after = upto(30);
      talk.script.dies = upto(10) == 0;
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
