// What holds whatever is built in: names, the engine without a library, the queue without a lock, no audio device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "prosa/audio.h"
#include "prosa/error.h"
#include "voice/ring.h"
#include "voice_speech.h"

namespace prosa::test {
namespace {

bool built(const char* name) { return std::ranges::count(voice_engines(), name) > 0; }

TEST(VoiceEngines, UnknownNamesSayWhatThereIs) {
  EXPECT_TRUE(built("energy"));
  const auto message = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
  };
  EXPECT_THAT(message([] { make_voice_activity("nothing"); }), testing::HasSubstr("energy"));
  for (const std::string& text :
       {message([] { make_speech_to_text("nothing"); }), message([] { make_text_to_speech("espeak"); })}) {
    EXPECT_THAT(text, testing::HasSubstr("stdio:COMMAND"));
  }
  if (built("flite")) {
    EXPECT_THAT(message([] { make_text_to_speech("espeak"); }), testing::HasSubstr("built in: flite"));
  }
}

TEST(VoiceEngines, EnergyHearsWhatIsLouderThanTheRoom) {
  const auto activity = make_voice_activity("energy");
  Sound heard = noise(2 * kHeardRate, 30);
  Sound loud(kHeardRate);
  for (size_t i = 0; i < loud.size(); ++i) {
    loud[i] = static_cast<int16_t>(3000 * std::sin(0.1 * static_cast<double>(i)) * (i / 1600 % 3 < 2 ? 1 : 0.3));
  }
  append(heard, loud);
  append(heard, noise(kHeardRate, 30));
  const auto sure = sureness(*activity, heard);
  EXPECT_EQ(share(sure, 0, 200), 0);
  EXPECT_GT(share(sure, 200, 300), 0.9);
  EXPECT_EQ(share(sure, 301, 400), 0);
  Sound silence(kHeardRate);
  EXPECT_EQ(share(sureness(*activity, silence), 0, 100), 0);
}

TEST(VoiceRing, GivesWhatWasPutInItsOrder) {
  voice::Ring<int> ring(1000);
  constexpr int kCount = 200'000;
  std::thread putter([&] {
    for (int next = 0; next < kCount;) {
      std::vector<int> items;
      for (int i = 0; i < next % 700 + 1 && next + i < kCount; ++i) items.push_back(next + i);
      next += static_cast<int>(ring.put(items));
    }
  });
  std::vector<int> block(333);
  for (int expected = 0; expected < kCount;) {
    const size_t count = ring.take(block);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(block[i], expected++);
  }
  putter.join();
}

TEST(VoiceRing, DropsWhatWasNotTaken) {
  voice::Ring<int> ring(4);
  const std::vector<int> items = {1, 2, 3, 4, 5};
  EXPECT_EQ(ring.put(items), 4U);
  ring.drop();
  EXPECT_EQ(ring.size(), 0U);
  std::vector<int> out(4);
  EXPECT_EQ(ring.take(out), 0U);
  EXPECT_EQ(ring.put(items), 4U);
  EXPECT_EQ(ring.size(), 4U);
  EXPECT_EQ(ring.take(out), 4U);
  EXPECT_THAT(out, testing::ElementsAre(1, 2, 3, 4));
}

TEST(VoiceDevice, OneThatIsNotThereIsATypedErrorThatListsThoseThatAre) {
  try {
    AudioDevice device({.input = "no such microphone"});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    if (built("portaudio")) {
      EXPECT_EQ(error.code(), ErrorCode::not_found);
      EXPECT_THAT(error.remedy(), testing::StartsWith("there are:"));
    } else {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
    }
  }
}

}  // namespace
}  // namespace prosa::test
