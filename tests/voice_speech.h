// Speech and noise for the tests of the voice, made while they run: no recordings are kept.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "prosa/voice_parts.h"

namespace prosa::test {

using Sound = std::vector<int16_t>;  // kHeardRate

/// What flite's `voice` says.
inline Sound speech(const std::string& voice, const std::string& text) {
  Sound sound;
  const auto mouth = make_text_to_speech("flite:" + voice);
  mouth->speak(text, [&](std::span<const int16_t> piece) {
    sound.insert(sound.end(), piece.begin(), piece.end());
    return true;
  });
  return sound;
}

/// Noise of a room. `loudness`: of most samples.
inline Sound noise(size_t samples, double loudness) {
  std::mt19937 random(7);
  std::normal_distribution<double> spread(0, loudness);
  Sound sound(samples);
  for (int16_t& each : sound) each = static_cast<int16_t>(spread(random));
  return sound;
}

inline void append(Sound& sound, const Sound& more) { sound.insert(sound.end(), more.begin(), more.end()); }

/// Adds `other`, `loudness` times as loud, from sample `at` on, as far as `sound` goes.
inline void mix(Sound& sound, const Sound& other, size_t at, double loudness) {
  for (size_t i = 0; i < other.size() && at + i < sound.size(); ++i) {
    const double sum = sound[at + i] + loudness * other[i];
    sound[at + i] = static_cast<int16_t>(std::clamp(sum, -32768.0, 32767.0));
  }
}

/// How sure `activity` is of speech in each frame of `heard`, which it cleans, while `played` is played.
inline std::vector<float> sureness(VoiceActivity& activity, Sound& heard, const Sound& played = {}) {
  std::vector<float> sure;
  for (size_t at = 0; at + kFrameSamples <= heard.size(); at += kFrameSamples) {
    Sound reference(kFrameSamples);
    for (size_t i = 0; i < kFrameSamples && at + i < played.size(); ++i) reference[i] = played[at + i];
    sure.push_back(activity.process(std::span(heard).subspan(at, kFrameSamples), reference));
  }
  return sure;
}

/// The share of frames from `begin` to `end` that read as speech.
inline double share(const std::vector<float>& sure, size_t begin, size_t end) {
  size_t count = 0;
  for (size_t i = begin; i < end; ++i) count += sure[i] >= 0.5F ? 1 : 0;
  return static_cast<double>(count) / static_cast<double>(end - begin);
}

}  // namespace prosa::test
