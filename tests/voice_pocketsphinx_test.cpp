// Recognition by pocketsphinx of what flite says: words compared loosely, for both are machines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <thread>

#include "prosa/error.h"
#include "voice/engines/engines.h"
#include "voice_speech.h"

namespace prosa::test {
namespace {

/// How many of the words of `said` are in `heard`, in any order.
int words_of(const std::string& said, const std::string& heard) {
  int count = 0;
  std::istringstream words(said);
  for (std::string word; words >> word;)
    count += (" " + heard + " ").find(" " + word + " ") != std::string::npos ? 1 : 0;
  return count;
}

Sound turn(const std::string& text) {
  Sound sound = noise(kHeardRate / 2, 8);
  append(sound, speech("slt", text));
  append(sound, noise(kHeardRate / 3, 8));
  return sound;
}

class Pocketsphinx : public testing::Test {
 protected:
  static void SetUpTestSuite() { ears = make_speech_to_text("pocketsphinx", "en-US"); }
  static void TearDownTestSuite() { ears.reset(); }
  static std::unique_ptr<SpeechToText> ears;  // loading takes a second
};
std::unique_ptr<SpeechToText> Pocketsphinx::ears;

TEST_F(Pocketsphinx, RecognisesACommandWhileItIsSpoken) {
  const Sound sound = turn("Turn on the light.");
  ears->begin();
  std::string partial, earlier;
  for (size_t at = 0; at < sound.size(); at += 1600) {
    partial = ears->push(std::span(sound).subspan(at, std::min<size_t>(1600, sound.size() - at)));
    if (at < sound.size() * 2 / 3 && !partial.empty()) earlier = partial;
  }
  EXPECT_GE(words_of("turn on the light", partial), 3) << partial;
  EXPECT_FALSE(earlier.empty()) << "words come before the end";
  EXPECT_EQ(ears->end(), partial) << "without the search of the best path the last partial is the final one";
}

TEST_F(Pocketsphinx, SilenceAndNothingAreNoWords) {
  for (const size_t samples : {size_t{0}, size_t{10}, size_t{2 * kHeardRate}}) {
    ears->begin();
    ears->push(Sound(samples));
    EXPECT_EQ(ears->end(), "");
  }
}

TEST_F(Pocketsphinx, ACancelledUtteranceIsForgotten) {
  ears->begin();
  ears->push(turn("What time is it?"));
  ears->cancel();
  EXPECT_THROW(ears->push(Sound(100)), Error);
  EXPECT_THROW(ears->end(), Error);
  ears->begin();
  EXPECT_EQ(ears->end(), "");
  EXPECT_THROW(ears->end(), Error);  // none is open
  ears->begin();
  std::thread canceller([&] { ears->cancel(); });
  try {
    for (int i = 0; i < 1000; ++i) ears->push(noise(kHeardRate, 3000));  // minutes of work
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  canceller.join();
}

TEST(PocketsphinxModel, AMissingModelIsNamedWithItsPackage) {
  try {
    voice::make_pocketsphinx({.models = "/no/such/folder"});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.what(), testing::HasSubstr("pocketsphinx-en-us"));
  }
  EXPECT_THROW(make_speech_to_text("pocketsphinx", "de"), Error);
}

}  // namespace
}  // namespace prosa::test
