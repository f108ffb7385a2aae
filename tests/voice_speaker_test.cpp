// The mouth of a voice: when words without an end of a sentence are said.
#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "voice/playback.h"
#include "voice/speaker.h"

namespace prosa::voice {
namespace {

using namespace std::chrono_literals;

struct Mute final : TextToSpeech {
  [[nodiscard]] int rate() const override { return kHeardRate; }
  void speak(std::string_view, const Sink&) override {}
  void cancel() noexcept override {}
};

/// What is handed to synthesis.
class Said final : public SpeakerEvents {
 public:
  void sentence(int64_t, const SpokenUnit& unit, bool) override {
    const std::lock_guard lock(mutex_);
    text_ += unit.text + "|";
    changed_.notify_all();
  }
  void speaking_failed(int64_t, const std::string&) override {}
  /// Nothing: "".
  std::string wait(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, patience, [&] { return !text_.empty(); });
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
};

TEST(Speaker, PatienceWithADraftsWordsHasBegunBefore) {
  constexpr double kPatience = 3600;  // seconds: no test lasts so long
  for (const bool waited : {true, false}) {
    Said said;
    Playback playback(kHeardRate);
    Speaker speaker(std::make_unique<Mute>(), {.patience_seconds = kPatience}, kHeardRate, playback, said);
    speaker.begin(1, waited ? 2h : 0h);
    speaker.write(1, "Once upon a time a ");
    EXPECT_EQ(said.wait(waited ? 20s : 100ms), waited ? "Once upon a time a|" : "");
    speaker.begin(2);
    speaker.write(2, "There was a ");
    EXPECT_EQ(said.wait(50ms), waited ? "Once upon a time a|" : "") << "of that reply alone";
  }
}

}  // namespace
}  // namespace prosa::voice
