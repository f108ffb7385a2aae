// webrtc's voice activity: speech is speech, silence, noise and the own voice are not, and a user over it still is.
#include <gtest/gtest.h>

#include <cmath>

#include "voice_speech.h"

namespace prosa::test {
namespace {

constexpr size_t kSecond = kHeardRate / kFrameSamples;  // frames

Sound reply() {
  Sound sound;
  for (const char* text :
       {"The kitchen light is on now. It is half past seven in the evening.",
        "If you want, I can also close the windows and turn down the heating before you go to bed."}) {
    append(sound, speech("rms", text));
  }
  return sound;
}

TEST(Webrtc, SpeechIsSpeechAndWhatSurroundsItIsNot) {
  Sound heard = noise(kHeardRate, 8);
  const Sound said = speech("slt", "Turn on the light in the kitchen please, and tell me what time it is.");
  append(heard, said);
  append(heard, noise(2 * kHeardRate, 8));
  const auto activity = make_voice_activity("webrtc");
  const auto sure = sureness(*activity, heard);
  const size_t end = kSecond + said.size() / kFrameSamples;
  EXPECT_EQ(share(sure, 0, kSecond), 0);
  EXPECT_GT(share(sure, kSecond, end), 0.8);
  EXPECT_EQ(share(sure, end + kSecond / 5, sure.size()), 0) << "200 ms later nobody speaks";
}

TEST(Webrtc, SilenceAndNoiseAreNotSpeech) {
  for (const double loudness : {0.0, 8.0, 100.0, 500.0}) {
    const auto activity = make_voice_activity("webrtc");
    Sound heard = noise(5 * kHeardRate, loudness);
    const auto sure = sureness(*activity, heard);
    EXPECT_EQ(share(sure, kSecond / 5, sure.size()), 0) << loudness;
  }
}

TEST(Webrtc, TheOwnVoiceIsNotSpeechWhateverItsWay) {
  const Sound played = reply();
  for (const size_t delay : {size_t{10}, size_t{40}, size_t{100}}) {  // milliseconds
    Sound heard = noise(played.size(), 8);
    mix(heard, played, delay * kHeardRate / 1000, 0.1);  // -20 dB
    const Sound raw = heard;
    const auto activity = make_voice_activity("webrtc");
    const auto sure = sureness(*activity, heard, played);
    EXPECT_EQ(share(sure, 0, sure.size()), 0) << delay << " ms, from the first word on";
    double before = 0, after = 0;
    for (size_t i = kHeardRate; i < raw.size(); ++i) {
      before += static_cast<double>(raw[i]) * raw[i];
      after += static_cast<double>(heard[i]) * heard[i];
    }
    EXPECT_LT(10 * std::log10((after + 1) / before), -15) << "decibel that are left of it, at " << delay << " ms";
  }
}

TEST(Webrtc, AUserOverTheOwnVoiceIsSpeech) {
  const Sound played = reply(), said = speech("slt", "Stop, that is enough for now, thank you.");
  Sound heard = noise(played.size(), 8);
  mix(heard, played, 40 * kHeardRate / 1000, 0.1);
  const size_t at = 3 * kSecond;
  mix(heard, said, at * kFrameSamples, 1);
  const auto activity = make_voice_activity("webrtc");
  const auto sure = sureness(*activity, heard, played);
  EXPECT_EQ(share(sure, kSecond, at), 0);
  EXPECT_GT(share(sure, at, at + said.size() / kFrameSamples), 0.7);
}

TEST(Webrtc, AUserIsHeardOverTheFirstWordsOfTheOwnVoice) {
  const Sound played = reply(), said = speech("slt", "Stop, that is enough for now, thank you.");
  Sound heard = noise(played.size(), 8);
  mix(heard, played, 40 * kHeardRate / 1000, 0.1);
  mix(heard, said, kSecond / 5 * kFrameSamples, 1);
  const auto activity = make_voice_activity("webrtc");
  const auto sure = sureness(*activity, heard, played);
  EXPECT_GT(share(sure, kSecond / 5, kSecond / 5 + said.size() / kFrameSamples), 0.5);
}

TEST(Webrtc, ResetForgetsWhatWasHeard) {
  const auto activity = make_voice_activity("webrtc");
  Sound first = speech("slt", "Turn on the light."), second = first;
  const auto expected = sureness(*activity, first);
  activity->reset();
  EXPECT_EQ(sureness(*activity, second), expected);
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace prosa::test
