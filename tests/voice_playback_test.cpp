// The queue between synthesis and loudspeaker: what was heard is known, what is superseded is refused, a pause is
// silent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "voice/playback.h"

namespace prosa::voice {
namespace {

using Samples = std::vector<int16_t>;

/// Words of two characters each.
SpokenUnit spoken(size_t first, size_t last) {
  SpokenUnit unit{std::string(last - first, 'a'), first, last, true, {}};
  for (size_t at = first; at < last; at += 2) unit.parts.push_back({at + 2 - first, at, at + 2});
  return unit;
}

class PlaybackTest : public testing::Test {
 protected:
  void unit(int64_t revision, size_t first, size_t last, size_t samples, int16_t value = 1000) {
    ASSERT_TRUE(playback.add_unit(revision, spoken(first, last)));
    ASSERT_TRUE(playback.add(revision, Samples(samples, value)));
    playback.end_unit(revision);
  }
  Samples pull(size_t count) {
    Samples out(count, int16_t{-1});
    played = playback.pull(out);
    return out;
  }
  Playback playback{1000};
  Playback::Played played;
};

TEST_F(PlaybackTest, SilenceWhereThereIsNothing) {
  EXPECT_THAT(pull(4), testing::Each(0));
  EXPECT_FALSE(played.last);
  EXPECT_EQ(playback.heard(), 0U);
}

TEST_F(PlaybackTest, WhatWasHeardIsKnownToTheWord) {
  playback.begin(1);
  unit(1, 0, 10, 100);
  unit(1, 12, 20, 100);
  playback.finish(1);
  pull(50);
  EXPECT_TRUE(played.first);
  EXPECT_EQ(playback.heard(), 4U) << "half a word is none";
  pull(50);
  EXPECT_FALSE(played.first);
  EXPECT_EQ(playback.heard(), 10U) << "not yet the space between";
  pull(50);
  EXPECT_EQ(playback.heard(), 16U);
  EXPECT_EQ(playback.left(), std::chrono::milliseconds(50));
  pull(60);
  EXPECT_TRUE(played.last);
  EXPECT_EQ(playback.heard(), 20U);
  pull(10);
  EXPECT_FALSE(played.last) << "it is over once";
}

TEST_F(PlaybackTest, AUnitUnderWayIsSpreadOverWhatItWillTake) {
  playback.begin(1);
  ASSERT_TRUE(playback.add_unit(1, spoken(0, 30)));  // two seconds of speech
  ASSERT_TRUE(playback.add(1, Samples(100, 1)));
  pull(100);
  EXPECT_EQ(playback.heard(), 0U);
  EXPECT_EQ(playback.left(), std::nullopt);
  playback.end_unit(1);
  pull(1);
  EXPECT_EQ(playback.heard(), 30U);
}

TEST_F(PlaybackTest, APauseFadesAndGoesOnWhereItWas) {
  playback.begin(1);
  unit(1, 0, 10, 100);
  pull(10);
  playback.pause();
  const Samples fading = pull(10);
  EXPECT_TRUE(std::is_sorted(fading.rbegin(), fading.rend()));
  EXPECT_LT(fading.back(), 100);
  EXPECT_THAT(pull(10), testing::Each(0));
  EXPECT_EQ(playback.heard(), 2U);
  playback.resume();
  EXPECT_THAT(pull(80), testing::Each(1000));
  playback.finish(1);
  pull(1);
  EXPECT_TRUE(played.last);
}

TEST_F(PlaybackTest, ASupersededReplyIsRefused) {
  playback.begin(1);
  unit(1, 0, 10, 100);
  playback.begin(2);
  EXPECT_FALSE(playback.add_unit(1, spoken(10, 20)));
  EXPECT_FALSE(playback.add(1, Samples(5, 1)));
  playback.finish(1);
  EXPECT_EQ(playback.left(), std::nullopt) << "another's end";
  unit(2, 0, 4, 10, 7);
  EXPECT_THAT(pull(10), testing::Each(7));
  EXPECT_EQ(played.revision, 2);
  playback.drop();
  EXPECT_FALSE(playback.add_unit(2, spoken(4, 8)));
  pull(10);
  EXPECT_FALSE(played.last) << "what was dropped does not end";
}

TEST_F(PlaybackTest, AReplyWithoutSoundEnds) {
  playback.begin(1);
  ASSERT_TRUE(playback.add_unit(1, spoken(0, 4)));
  playback.end_unit(1);
  playback.finish(1);
  pull(1);
  EXPECT_TRUE(played.last);
  EXPECT_EQ(playback.heard(), 4U);
}

TEST(PlaybackQueue, WaitsForRoomAndIsWokenByTheNextReply) {
  Playback playback(1000, std::chrono::milliseconds(100));
  playback.begin(1);
  ASSERT_TRUE(playback.add_unit(1, spoken(0, 2)));
  std::atomic<bool> refused = false;
  std::thread synthesizer([&] {
    while (playback.add(1, Samples(50, 1))) continue;
    refused = true;
  });
  Samples out(500);
  for (int i = 0; i < 20; ++i) playback.pull(out);
  EXPECT_LE(playback.queued(), std::chrono::milliseconds(150));
  playback.begin(2);
  synthesizer.join();
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace prosa::voice
