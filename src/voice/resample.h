// Sound from one rate to another, by libsamplerate's windowed sinc.
//
// Mono. Nothing is delayed: sample n of the result is the sound of the same moment. Resampler takes a stream in pieces
// of any size and gives the same samples as one piece would.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace prosa::voice {

/// The nearest 16-bit samples; what is louder than those can say is cut off.
std::vector<int16_t> to_int16(std::span<const float> samples);

/// The whole of a sound. samples [n] at rate `from` → [about n·to/from] at rate `to`, both in samples a second.
std::vector<float> resample(std::span<const float> samples, int from, int to);

class Resampler {
 public:
  struct State;
  Resampler(int from, int to);
  ~Resampler();
  Resampler(Resampler&&) noexcept;
  Resampler& operator=(Resampler&&) noexcept;

  /// What is decided after `samples` [n]; `last`: nothing follows, give out the rest.
  std::vector<int16_t> push(std::span<const int16_t> samples, bool last = false);
  /// Forgets what it was given: the next sample begins a new sound.
  void reset();

 private:
  std::unique_ptr<State> state_;
};

}  // namespace prosa::voice
