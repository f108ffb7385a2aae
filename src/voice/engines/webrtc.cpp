// Voice activity, echo canceller, noise suppression and gain of webrtc-audio-processing 0.3.
//
// The echo canceller finds the delay between loudspeaker and microphone by itself (delay-agnostic mode): the caller
// only has to give each heard frame with the frame played about that time, up to half a second apart. It needs about a
// second of the own voice to learn the room; until then loudness tells echo from speech.
#include <webrtc/modules/audio_processing/include/audio_processing.h>
#include <webrtc/modules/interface/module_common_types.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "voice/engines/engines.h"

namespace prosa::voice {
namespace {

constexpr double kSilent = 30;        // quieter than anything that is played, in units of a sample
constexpr int kLearningFrames = 100;  // of the own voice
/// An echo is quieter than this share of what was played. A user who speaks to the device is louder.
constexpr double kLoudestEcho = 0.25;
/// Of the loudest frame played, what still counts a frame later: a room answers for some tenths of a second.
constexpr double kEchoStays = 0.96;

double loudness(std::span<const int16_t> samples) {
  double sum = 0;
  for (const int16_t sample : samples) sum += static_cast<double>(sample) * sample;
  return std::sqrt(sum / static_cast<double>(samples.size()));
}

void fill(webrtc::AudioFrame& frame, std::span<const int16_t> samples) {
  frame.sample_rate_hz_ = kHeardRate;
  frame.num_channels_ = 1;
  frame.samples_per_channel_ = kFrameSamples;
  std::ranges::copy(samples, frame.data_);
}

class Webrtc final : public VoiceActivity {
 public:
  Webrtc() { start(); }

  float process(std::span<int16_t> heard, std::span<const int16_t> played) override {
    PROSA_CHECK(heard.size() == kFrameSamples && played.size() == kFrameSamples);
    const bool echo = may_be_echo(loudness(heard), loudness(played));
    fill(far_, played);
    PROSA_CHECK(audio_->AnalyzeReverseStream(&far_) == 0);
    fill(near_, heard);
    PROSA_CHECK(audio_->set_stream_delay_ms(0) == 0);
    PROSA_CHECK(audio_->ProcessStream(&near_) == 0);
    std::copy_n(near_.data_, kFrameSamples, heard.begin());
    return echo ? 0 : sureness();
  }

  void reset() override { start(); }

 private:
  /// Whether it is the own voice as far as loudness tells, while the canceller still learns.
  bool may_be_echo(double heard, double played) {
    loudest_ = std::max(played, loudest_ * kEchoStays);
    if (learnt_ >= kLearningFrames) return false;
    if (played > kSilent) ++learnt_;
    return loudest_ > kSilent && heard < loudest_ * kLoudestEcho;
  }

  void start() {
    loudest_ = 0;
    learnt_ = 0;
    webrtc::Config config;
    config.Set<webrtc::DelayAgnostic>(new webrtc::DelayAgnostic(true));
    config.Set<webrtc::ExtendedFilter>(new webrtc::ExtendedFilter(true));
    audio_.reset(webrtc::AudioProcessing::Create(config));
    PROSA_CHECK(audio_ != nullptr);
    const webrtc::ProcessingConfig mono{{{kHeardRate, 1}, {kHeardRate, 1}, {kHeardRate, 1}, {kHeardRate, 1}}};
    PROSA_CHECK(audio_->Initialize(mono) == 0);
    audio_->high_pass_filter()->Enable(true);
    audio_->echo_cancellation()->enable_drift_compensation(false);
    audio_->echo_cancellation()->set_suppression_level(webrtc::EchoCancellation::kHighSuppression);
    audio_->echo_cancellation()->Enable(true);
    audio_->noise_suppression()->set_level(webrtc::NoiseSuppression::kLow);
    audio_->noise_suppression()->Enable(true);
    audio_->gain_control()->set_mode(webrtc::GainControl::kAdaptiveDigital);
    audio_->gain_control()->Enable(true);
    audio_->voice_detection()->set_likelihood(webrtc::VoiceDetection::kLowLikelihood);
    audio_->voice_detection()->Enable(true);
  }

  /// The detector says yes or no, the noise suppressor how likely; neither alone is right at the edges of words.
  [[nodiscard]] float sureness() const {
    const float likely = std::clamp(audio_->noise_suppression()->speech_probability(), 0.0F, 1.0F);
    return (audio_->voice_detection()->stream_has_voice() ? 0.5F : 0.0F) + likely / 2;
  }

  std::unique_ptr<webrtc::AudioProcessing> audio_;
  webrtc::AudioFrame near_, far_;
  double loudest_ = 0;  // of what was played, fading
  int learnt_ = 0;      // frames of the own voice that the canceller has had
};

}  // namespace

std::unique_ptr<VoiceActivity> make_webrtc() { return std::make_unique<Webrtc>(); }

}  // namespace prosa::voice
