// The ears and the mouth of a voice end with it, also where an engine misses the first cancel(): one that came just
// before a call began, which begins like every call by forgetting what was cancelled before.
#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "voice/listener.h"
#include "voice/playback.h"
#include "voice/speaker.h"

namespace prosa::voice {
namespace {

/// A call that hangs until it is cancelled, and hears nothing of what came within its first 30 ms.
class LateCall {
 public:
  void run() {
    std::unique_lock lock(mutex_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::milliseconds(30), [] { return false; });
    cancelled_ = false;
    changed_.wait(lock, [&] { return cancelled_; });
  }
  void cancel() noexcept {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }
  void wait_until_entered() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool entered_ = false;
  bool cancelled_ = false;
};

struct LateEars final : SpeechToText {
  explicit LateEars(LateCall& given) : call(given) {}
  void begin() override {
    call.run();
    throw Error(ErrorCode::cancelled, "was cancelled", "ears");
  }
  std::string push(std::span<const int16_t>) override { return {}; }
  std::string end() override { return {}; }
  void cancel() noexcept override { call.cancel(); }
  LateCall& call;
};

struct LateMouth final : TextToSpeech {
  explicit LateMouth(LateCall& given) : call(given) {}
  [[nodiscard]] int rate() const override { return kHeardRate; }
  void speak(std::string_view, const Sink&) override { call.run(); }
  void cancel() noexcept override { call.cancel(); }
  LateCall& call;
};

struct Nobody final : ListenerEvents, SpeakerEvents {
  void partial(int64_t, const std::string&) override {}
  void final(int64_t, const std::string&) override {}
  void hearing_failed(int64_t, const std::string& what) override {
    ADD_FAILURE() << "nobody asked any longer: " << what;
  }
  void sentence(int64_t, const SpokenUnit&, bool) override {}
  void speaking_failed(int64_t, const std::string&) override {}
};

TEST(VoiceFarewell, EarsThatMissACancelEnd) {
  LateCall call;
  Nobody nobody;
  Listener listener(std::make_unique<LateEars>(call), nobody);
  listener.begin(1);
  call.wait_until_entered();
}

TEST(VoiceFarewell, AMouthThatMissesACancelEnds) {
  LateCall call;
  Nobody nobody;
  Playback playback(kHeardRate);
  Speaker speaker(std::make_unique<LateMouth>(call), {}, kHeardRate, playback, nobody);
  speaker.begin(1);
  speaker.write(1, "Hello there.");
  speaker.finish(1);
  call.wait_until_entered();
}

}  // namespace
}  // namespace prosa::voice
