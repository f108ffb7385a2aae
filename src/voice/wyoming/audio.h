// The sound of Wyoming events: audio-start, audio-chunk, audio-stop.
//
// Whatever a program sends (1 to 4 bytes a sample, any channels) becomes mono of 16 bit. Chunks may be cut anywhere,
// even inside a sample.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "voice/wyoming/event.h"

namespace prosa::wyoming {

struct AudioFormat {
  int rate = 0;   // samples a second
  int width = 2;  // bytes a sample
  int channels = 1;
};

Event audio_start(int rate);
Event audio_chunk(std::span<const int16_t> samples, int rate);
Event audio_stop();

class AudioDecoder {
 public:
  /// The format in an audio-start or audio-chunk. Error(io): there is none, or nobody hears that; `peer` sent it.
  void start(const Event& event, const std::string& peer);
  /// Samples [n] of an audio-chunk that are complete with it.
  std::vector<int16_t> decode(const Event& event);
  [[nodiscard]] int rate() const noexcept { return format_.rate; }

 private:
  AudioFormat format_;
  std::string rest_;  // of a frame whose end has yet to come
};

}  // namespace prosa::wyoming
