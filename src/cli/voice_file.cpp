// prosa voice with recordings in place of a microphone, in real time: 10 milliseconds of sound every 10 milliseconds.
//
// The next recording begins when the reply to the last one is over, as people would speak.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/voice.h"
#include "cli/voice_view.h"
#include "prosa/audio.h"

namespace prosa::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kFrame{10};
/// Of quiet, before the next recording begins and after the last one.
constexpr int kQuietFrames = 60;
/// A reply that takes longer is not waited for.
constexpr int kMaxWaitFrames = 120 * 100;

class Player {
 public:
  Player(VoicePipeline& pipeline, const VoiceArguments& arguments)
      : pipeline_(pipeline),
        out_(static_cast<size_t>(arguments.options.play_rate) / 100),
        echo_(arguments.echo_db == 0 ? 0 : std::pow(10.0, arguments.echo_db / 20)) {
    sound_.play_rate = arguments.options.play_rate;
    sound_.begin = begin_;
    if (echo_ != 0 && sound_.play_rate != kHeardRate)
      throw Error(ErrorCode::invalid_argument, "needs a play rate of 16000", "--echo-db");
  }

  /// The next 10 ms: `frame` [<= kFrameSamples] is what the user says in them.
  void tick(std::span<const int16_t> frame) {
    std::vector<int16_t> heard(kFrameSamples);
    std::copy(frame.begin(), frame.end(), heard.begin());
    pipeline_.pull(out_);
    if (echo_ != 0) add_echo(heard);
    sound_.played.insert(sound_.played.end(), out_.begin(), out_.end());
    sound_.heard.insert(sound_.heard.end(), heard.begin(), heard.end());
    pipeline_.push(heard);
    ++ticks_;
    std::this_thread::sleep_until(begin_ + ticks_ * kFrame);
  }

  /// Until nothing has happened for a while, or for too long.
  void wait(const interrupt::Catch& stop) {
    int quiet = 0;
    for (int waited = 0; quiet < kQuietFrames && waited < kMaxWaitFrames && !stop.interrupted(); ++waited) {
      tick({});
      quiet = pipeline_.idle() ? quiet + 1 : 0;
    }
  }

  [[nodiscard]] VoiceSound& sound() { return sound_; }
  /// Of the sound so far.
  [[nodiscard]] std::chrono::microseconds now() const { return ticks_ * kFrame; }

 private:
  void add_echo(std::vector<int16_t>& heard) const {
    for (size_t i = 0; i < heard.size(); ++i)
      heard[i] = static_cast<int16_t>(std::clamp(heard[i] + echo_ * out_[i], -32768.0, 32767.0));
  }

  VoicePipeline& pipeline_;
  std::vector<int16_t> out_;
  const double echo_;
  VoiceSound sound_;
  int64_t ticks_ = 0;
  const Clock::time_point begin_ = Clock::now();
};

}  // namespace

VoiceSound play_recordings(VoicePipeline& pipeline, const VoiceArguments& arguments, VoiceView& view) {
  std::vector<std::vector<int16_t>> recordings;
  for (const std::string& path : arguments.in) {
    const Recording recording = read_wav(path);
    if (recording.truncated) view.note(fmt::format("prosa: {}: ends before the sound it announces does", path));
    recordings.push_back(to_heard(recording));
  }
  const interrupt::Catch stop({});
  Player player(pipeline, arguments);
  player.wait(stop);
  for (size_t i = 0; i < recordings.size() && !stop.interrupted(); ++i) {
    const std::span<const int16_t> samples(recordings[i]);
    const auto begin = player.now();
    for (size_t at = 0; at < samples.size() && !stop.interrupted(); at += kFrameSamples)
      player.tick(samples.subspan(at, std::min<size_t>(kFrameSamples, samples.size() - at)));
    player.sound().recordings.push_back({arguments.in[i], begin, player.now()});
    player.wait(stop);
  }
  return std::move(player.sound());
}

}  // namespace prosa::cli
