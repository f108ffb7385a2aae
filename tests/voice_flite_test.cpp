// Speech of flite: all voices, in pieces, cancelled, several at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "prosa/error.h"
#include "voice_speech.h"

namespace prosa::test {
namespace {

constexpr const char* kText = "One sentence. Two sentences here! And a third one, which is longer than the others.";

TEST(Flite, SpeaksWithFourVoicesInPieces) {
  for (const char* voice : {"slt", "rms", "awb", "kal16"}) {
    const auto mouth = make_text_to_speech("flite", voice);
    EXPECT_EQ(mouth->rate(), kHeardRate);
    std::vector<size_t> pieces;
    Sound all;
    mouth->speak(kText, [&](std::span<const int16_t> piece) {
      pieces.push_back(piece.size());
      all.insert(all.end(), piece.begin(), piece.end());
      return true;
    });
    EXPECT_GT(pieces.size(), 1U) << voice;
    EXPECT_LE(std::ranges::max(pieces), 1600U) << "100 milliseconds";
    EXPECT_GT(all.size(), size_t{3} * kHeardRate) << voice;
    EXPECT_EQ(all.size(), speech(voice, kText).size()) << "the same text takes the same time";
  }
  EXPECT_THROW(make_text_to_speech("flite:nobody"), Error);
}

TEST(Flite, ARefusalAndACancelEndItAndTheNextTextIsSpoken) {
  const auto mouth = make_text_to_speech("flite");
  int pieces = 0;
  mouth->speak(kText, [&](std::span<const int16_t>) { return ++pieces < 2; });
  EXPECT_EQ(pieces, 2);
  std::string endless;
  for (int i = 0; i < 200; ++i) endless += kText;
  const auto start = std::chrono::steady_clock::now();
  std::atomic<bool> begun{false};
  std::thread canceller([&] {
    while (!begun) std::this_thread::yield();
    mouth->cancel();
  });
  size_t samples = 0;
  mouth->speak(endless, [&](std::span<const int16_t> piece) {
    begun = true;
    samples += piece.size();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return true;
  });
  canceller.join();
  EXPECT_LT(samples, size_t{300} * kHeardRate);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << "nor is the rest made";
  samples = 0;
  mouth->speak("Hello.", [&](std::span<const int16_t> piece) { return samples += piece.size(), true; });
  EXPECT_GT(samples, size_t{kHeardRate} / 4);
}

TEST(Flite, AnExceptionOfTheListenerPasses) {
  const auto mouth = make_text_to_speech("flite");
  EXPECT_THROW(mouth->speak(kText, [](std::span<const int16_t>) -> bool { throw std::runtime_error("full"); }),
               std::runtime_error);
  EXPECT_FALSE(speech("slt", "Hello.").empty());
}

TEST(Flite, TextWithoutWordsIsSilence) {
  for (const char* text : {"", "  ", "...", "?!", "你好"}) EXPECT_TRUE(speech("slt", text).empty()) << text;
}

TEST(Flite, LettersWithMarksAreSpokenWithoutThem) {
  // Its breath is drawn by lot, but not how long each sound lasts.
  EXPECT_EQ(speech("slt", "A café in Zürich.").size(), speech("slt", "A cafe in Zurich.").size());
  EXPECT_EQ(speech("slt", "It\u2019s \u201cfine\u201d").size(), speech("slt", "It's \"fine\"").size());
  EXPECT_NE(speech("slt", "A caf in Zrich.").size(), speech("slt", "A cafe in Zurich.").size());
  EXPECT_FALSE(speech("slt", "damaged \xff\xfe text \xe2").empty());
}

TEST(Flite, SlowListenersHoldNobodyUp) {
  const auto slow = make_text_to_speech("flite"), fast = make_text_to_speech("flite");
  std::atomic<bool> waiting{false}, done{false};
  std::thread listener([&] {
    slow->speak(kText, [&](std::span<const int16_t>) {
      waiting = true;
      while (!done) std::this_thread::yield();
      return false;
    });
  });
  while (!waiting) std::this_thread::yield();
  size_t samples = 0;
  fast->speak("Hello.", [&](std::span<const int16_t> piece) { return samples += piece.size(), true; });
  done = true;
  listener.join();
  EXPECT_GT(samples, 0U);
}

TEST(Flite, ManyAtATimeSayWhatEachWouldAlone) {
  const size_t expected = speech("slt", kText).size();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { right += speech("slt", kText).size() == expected ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4);
}

TEST(Flite, MoreTextThanIsSpokenAtOnceIsATypedError) { EXPECT_THROW(speech("slt", std::string(100'000, 'a')), Error); }

}  // namespace
}  // namespace prosa::test
