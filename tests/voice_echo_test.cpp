// The pipeline hears itself: its reply comes back into the microphone 40 ms later and 20 dB quieter, and interrupts
// nothing; the user still does.
//
// Real voices, a real detector and echo canceller; the recogniser is scripted and finds words in whatever it is given,
// so that each sound that is taken for speech is an interruption. PROSA_VOICE_ECHO_TURNS in the environment makes it
// longer.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>

#include "prosa/voice.h"
#include "scripted_model.h"
#include "voice_speech.h"
#include "voice_talk.h"

namespace prosa {
namespace {

using Kind = VoiceEvent::Kind;
using test::ScriptedModel;
using test::Sound;
using test::Talk;

constexpr double kEcho = 0.1;       // -20 dB
constexpr size_t kDelayFrames = 4;  // of 10 ms

/// A room with a loudspeaker, a microphone and some noise.
class Room {
 public:
  explicit Room(Talk& talk) : talk_(talk), echo_(kDelayFrames, Sound(kFrameSamples)) {}
  /// `said` [any]: by the user, from now on.
  void pass(const Sound& said, int frames) {
    for (int i = 0; i < frames; ++i, noise_at_ = (noise_at_ + kFrameSamples) % (noise_.size() - kFrameSamples)) {
      Sound out(kFrameSamples);
      talk_.pipeline->pull(out);
      echo_.push_back(out);
      Sound heard(noise_.begin() + static_cast<std::ptrdiff_t>(noise_at_),
                  noise_.begin() + static_cast<std::ptrdiff_t>(noise_at_ + kFrameSamples));
      test::mix(heard, echo_.front(), 0, kEcho);
      echo_.pop_front();
      const size_t at = static_cast<size_t>(i) * kFrameSamples;
      if (at < said.size())
        test::mix(heard,
                  Sound(said.begin() + static_cast<std::ptrdiff_t>(at),
                        said.begin() + static_cast<std::ptrdiff_t>(std::min(at + kFrameSamples, said.size()))),
                  0, 1);
      talk_.pipeline->push(heard);
      std::this_thread::sleep_for(test::kPace);
    }
  }
  void say(const Sound& said) { pass(said, static_cast<int>(said.size() / kFrameSamples) + 60); }
  void listen() {
    for (int i = 0; i < 6000 && !talk_.pipeline->idle(); ++i) pass({}, 1);
    ASSERT_TRUE(talk_.pipeline->idle());
  }

 private:
  Talk& talk_;
  std::deque<Sound> echo_;
  const Sound noise_ = test::noise(kHeardRate, 8);
  size_t noise_at_ = 0;
};

TEST(VoiceEcho, TheReplyInterruptsNothingAndTheUserDoes) {
  const std::vector<std::string> replies = {
      "The sea is wide and deep, and it moves all day with the moon and the wind.",
      "Of course I can help you with that. Let us begin with the first part, and see how far we come.",
      "It rains in the morning, and in the afternoon the sun comes out. Take a coat with you, please."};
  int reply = 0;
  ScriptedModel scripted([&](std::string_view) { return replies[static_cast<size_t>(reply) % replies.size()]; });
  VoiceOptions options;
  options.sampling.max_tokens = 400;
  options.turns.soft_commit = false;  // the scripted words are there before they are said: its pauses are the user's
  Talk talk(scripted.model, options, [](test::Script&) {
    return VoiceParts{make_voice_activity("webrtc"), nullptr, make_text_to_speech("flite:rms")};
  });
  Room room(talk);
  room.pass({}, 50);
  const Sound question = test::speech("slt", "Could you please tell me something about this?");
  const char* const wanted = std::getenv("PROSA_VOICE_ECHO_TURNS");
  const int turns = wanted != nullptr ? std::atoi(wanted) : 2;
  for (; reply < turns; ++reply) {
    talk.hears("tell me something about this.");
    room.say(question);
    room.listen();
  }
  EXPECT_EQ(talk.pipeline->turns().size(), static_cast<size_t>(turns));
  EXPECT_EQ(talk.count(Kind::paused), 0);
  EXPECT_EQ(talk.count(Kind::interrupted), 0);
  for (const TurnRecord& turn : talk.pipeline->turns()) EXPECT_EQ(turn.heard, turn.reply);
  // And over the same echo, somebody speaks.
  room.say(question);
  room.pass({}, 150);
  talk.hears("no, wait.");
  room.say(test::speech("slt", "No, wait a moment, please."));
  room.listen();
  EXPECT_EQ(talk.count(Kind::interrupted), 1);
}

}  // namespace
}  // namespace prosa
