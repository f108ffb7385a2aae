// Voice activity by a Wyoming program: audio-start, audio-chunk … → voice-started, voice-stopped.
//
// The program is spoken to on a thread of its own, so that the sound of a conversation never waits for it. Between
// events it says nothing, which a program that hangs does as well: it is asked what it offers from time to time, and
// one that does not answer is lost. Invariant: what waits for the program is bounded, and of a slow one the oldest is
// left out.
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "prosa/error.h"
#include "voice/wyoming/audio.h"
#include "voice/wyoming/program.h"

namespace prosa::wyoming {
namespace {

constexpr size_t kMaxWaiting = size_t{kHeardRate};     // samples: a second
constexpr std::chrono::seconds kMaxAsk{5};             // between two questions whether it is still there
constexpr std::chrono::milliseconds kFirstPause{500};  // before a lost program is looked for again; then twice as long
constexpr std::chrono::milliseconds kMaxPause{30'000};

class WyomingVoiceActivity final : public VoiceActivity {
 public:
  WyomingVoiceActivity(const std::string& address, std::unique_ptr<VoiceActivity> own, const Limits& limits)
      : own_(std::move(own)),
        ask_every_(std::min<Clock::duration>(kMaxAsk, limits.answer)),
        program_(address, "", limits),
        thread_([this](const std::stop_token& stop) { work(stop); }) {}
  ~WyomingVoiceActivity() override {
    thread_.request_stop();
    program_.cancel();
  }
  WyomingVoiceActivity(const WyomingVoiceActivity&) = delete;
  WyomingVoiceActivity& operator=(const WyomingVoiceActivity&) = delete;

  float process(std::span<int16_t> heard, std::span<const int16_t> played) override {
    const float sureness = own_->process(heard, played);
    const std::scoped_lock lock(mutex_);
    waiting_.insert(waiting_.end(), heard.begin(), heard.end());
    if (waiting_.size() > kMaxWaiting) waiting_.erase(waiting_.begin(), waiting_.end() - kMaxWaiting);
    arrived_.notify_all();
    if (lost_) throw *std::exchange(lost_, std::nullopt);
    if (away_) return sureness;
    return speech_ ? 1.0F : 0.0F;
  }

  void reset() override {
    own_->reset();
    const std::scoped_lock lock(mutex_);
    waiting_.clear();
    speech_ = false;
    again_ = true;
  }

 private:
  void work(const std::stop_token& stop) {
    auto pause = kFirstPause;
    while (!stop.stop_requested()) {
      const auto begin = Clock::now();
      try {
        Connection& connection = program_.request(audio_start(kHeardRate));
        begin_again();
        serve(connection, stop);
      } catch (const Error& error) {
        if (stop.stop_requested()) return;
        program_.drop();
        if (Clock::now() - begin > kMaxPause) pause = kFirstPause;  // it had been there for long
        std::unique_lock lock(mutex_);
        if (!std::exchange(away_, true)) lost_ = error;
        arrived_.wait_for(lock, stop, pause, [] { return false; });
        pause = std::min(pause * 2, kMaxPause);
      }
    }
  }

  /// Until the connection is of no use, or the utterances begin anew.
  void serve(Connection& connection, const std::stop_token& stop) {
    auto asked = Clock::now();
    bool answered = true;
    while (true) {
      const std::vector<int16_t> samples = take(stop);
      if (stop.stop_requested()) return;
      if (samples.empty()) {  // reset()
        connection.send(audio_stop(), program_.answer_deadline());
        connection.send(audio_start(kHeardRate), program_.answer_deadline());
        continue;
      }
      connection.send(audio_chunk(samples, kHeardRate), program_.answer_deadline());
      while (const auto event = connection.poll()) {
        if (event->type == "voice-started" || event->type == "voice-stopped") {
          const std::scoped_lock lock(mutex_);
          speech_ = event->type == "voice-started";
        } else if (event->type == "info") {
          answered = true;
        } else {
          program_.refuse(*event);
        }
      }
      if (connection.ended()) connection.fail_ended();
      if (Clock::now() - asked < ask_every_) continue;
      if (!answered) connection.fail("hangs: it gave no answer in time");
      connection.send({.type = "describe"}, program_.answer_deadline());
      asked = Clock::now();
      answered = false;
    }
  }

  /// The sound that waits; nothing after reset().
  std::vector<int16_t> take(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, stop, [this] { return !waiting_.empty() || again_; });
    if (std::exchange(again_, false)) return {};
    std::vector<int16_t> samples(waiting_.begin(), waiting_.end());
    waiting_.clear();
    return samples;
  }

  void begin_again() {
    const std::scoped_lock lock(mutex_);
    away_ = speech_ = again_ = false;
  }

  std::unique_ptr<VoiceActivity> own_;  // of process()
  const Clock::duration ask_every_;
  Program program_;   // of the thread, but for cancel()
  std::mutex mutex_;  // of what follows
  std::condition_variable_any arrived_;
  std::deque<int16_t> waiting_;  // samples for the program
  bool again_ = false;           // reset() was called
  bool away_ = false;            // the program does not answer
  bool speech_ = false;          // it says so
  std::optional<Error> lost_;    // not told yet
  std::jthread thread_;          // the last: it uses the rest
};

}  // namespace

std::unique_ptr<VoiceActivity> make_voice_activity(const std::string& address, std::unique_ptr<VoiceActivity> own,
                                                   const Limits& limits) {
  return std::make_unique<WyomingVoiceActivity>(address, std::move(own), limits);
}

}  // namespace prosa::wyoming
