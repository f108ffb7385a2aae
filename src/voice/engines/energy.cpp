// Voice activity from loudness alone: how far a frame stands above the noise that was there before it.
//
// Needs no library. It knows no echo: what the loudspeaker plays counts as speech where the microphone hears it, and so
// does every other loud noise. For headphones and for machines without webrtc-audio-processing.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "voice/engines/engines.h"

namespace prosa::voice {
namespace {

constexpr float kSilenceLevel = -96;    // dB of full scale: nothing at all
constexpr float kStartLevel = -60;      // the noise of a quiet room, until something was heard
constexpr float kMinSpeechLevel = -50;  // what is quieter is not meant for us
constexpr float kEvenMargin = 9;        // dB above the noise where speech and no speech are equally likely
constexpr float kSlope = 0.5F;          // how fast that changes with each dB
constexpr float kNoiseFall = 0.2F;      // share of the way to a quieter frame that the noise takes at once
constexpr float kNoiseRise = 0.02F;     // dB a frame while it is louder: 2 dB a second

float level_of(std::span<const int16_t> samples) {
  double sum = 0;
  for (const int16_t sample : samples) sum += static_cast<double>(sample) * sample;
  const double power = sum / static_cast<double>(samples.size()) / (32768.0 * 32768.0);
  return power <= 0 ? kSilenceLevel : std::max(kSilenceLevel, static_cast<float>(10 * std::log10(power)));
}

class Energy final : public VoiceActivity {
 public:
  float process(std::span<int16_t> heard, std::span<const int16_t> played) override {
    PROSA_CHECK(heard.size() == kFrameSamples && played.size() == kFrameSamples);
    const float level = level_of(heard);
    noise_ += level < noise_ ? kNoiseFall * (level - noise_) : kNoiseRise;
    const float even = std::max(noise_ + kEvenMargin, kMinSpeechLevel);
    return 1 / (1 + std::exp(-kSlope * (level - even)));
  }
  void reset() override { noise_ = kStartLevel; }

 private:
  float noise_ = kStartLevel;  // dB of full scale
};

}  // namespace

std::unique_ptr<VoiceActivity> make_energy() { return std::make_unique<Energy>(); }

}  // namespace prosa::voice
