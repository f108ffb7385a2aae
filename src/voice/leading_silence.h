// The silence that a synthesizer puts before the first sound of a text: 140 ms with flite's rms, 300 ms with others.
//
// Before the first words of a reply the user waits for nothing in it, so that it is taken away, but for a moment;
// pauses between sentences are none of its business. Knows samples, no text. Invariant: what comes out is what went in
// without a stretch of quiet samples at its beginning, however it was cut into pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace prosa::voice {

class LeadingSilence {
 public:
  /// `rate`: samples a second.
  explicit LeadingSilence(int rate) : kept_(static_cast<size_t>(rate) / 50), most_(static_cast<size_t>(rate) / 2) {}

  /// The next samples [n] of the text; what of all so far is to be played now.
  std::vector<int16_t> push(std::span<const int16_t> samples);
  /// The text is over; what is left of it.
  std::vector<int16_t> finish();

 private:
  const size_t kept_;  // samples before the first sound: a consonant may begin softly
  const size_t most_;  // samples that are taken away at most
  std::vector<int16_t> quiet_ = {};
  size_t taken_ = 0;
  bool sounds_ = false;  // the first sound has come
};

}  // namespace prosa::voice
