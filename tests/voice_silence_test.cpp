// The silence before a reply's first sound: gone but for a moment, whatever the pieces; nothing else is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "voice/leading_silence.h"

namespace prosa::voice {
namespace {

constexpr int kRate = 16'000;
constexpr size_t kKept = 320, kMost = 8'000;

std::vector<int16_t> play(const std::vector<int16_t>& sound, const std::function<size_t()>& piece) {
  LeadingSilence silence(kRate);
  std::vector<int16_t> played;
  const auto take = [&](const std::vector<int16_t>& some) { played.insert(played.end(), some.begin(), some.end()); };
  for (size_t at = 0; at < sound.size();) {
    const size_t count = std::min(piece(), sound.size() - at);
    take(silence.push(std::span(sound).subspan(at, count)));
    at += count;
  }
  take(silence.finish());
  return played;
}

TEST(LeadingSilence, IsTakenAwayWhateverThePieces) {
  std::mt19937 random(1);
  for (const size_t quiet : {size_t{0}, size_t{1}, kKept, kKept + 1, size_t{5000}, kKept + kMost, size_t{20'000}}) {
    std::vector<int16_t> sound(quiet);
    for (int16_t& sample : sound) sample = static_cast<int16_t>(static_cast<int>(random() % 201) - 100);
    for (const int16_t sample : {3000, -3000, 0, 0, 50, 2000}) sound.push_back(sample);
    sound.resize(sound.size() + 4000);  // a pause inside
    sound.push_back(-32768);
    const size_t gone = quiet > kKept ? std::min(quiet - kKept, kMost) : 0;
    const std::vector<int16_t> expected(sound.begin() + static_cast<std::ptrdiff_t>(gone), sound.end());
    EXPECT_EQ(play(sound, [] { return size_t{1} << 20; }), expected) << quiet;
    EXPECT_EQ(play(sound, [] { return size_t{1}; }), expected) << quiet;
    EXPECT_EQ(play(sound, [&] { return 1 + random() % 700; }), expected) << quiet;
  }
}

TEST(LeadingSilence, SilenceAloneLeavesAMoment) {
  EXPECT_EQ(play(std::vector<int16_t>(4000), [] { return size_t{100}; }).size(), kKept);
  EXPECT_TRUE(play({}, [] { return size_t{1}; }).empty());
  EXPECT_EQ(play({0, 0, 0}, [] { return size_t{2}; }).size(), 3U);
}

}  // namespace
}  // namespace prosa::voice
