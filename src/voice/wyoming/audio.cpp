// Reading formats and samples of any width.
#include "voice/wyoming/audio.h"

#include <cstring>

#include "prosa/error.h"

namespace prosa::wyoming {
namespace {

constexpr int kMinAudioRate = 1'000;
constexpr int kMaxAudioRate = 768'000;
constexpr int kMaxAudioWidth = 4;
constexpr int kMaxAudioChannels = 64;

nlohmann::json format_of(int rate) { return {{"rate", rate}, {"width", 2}, {"channels", 1}}; }

/// The upper 16 bits of a little-endian signed sample of `width` bytes. [width]
int upper(const char* bytes, int width) {
  if (width == 1) return static_cast<int8_t>(bytes[0]) * 256;
  int16_t value = 0;
  std::memcpy(&value, bytes + width - 2, sizeof value);
  return value;
}

}  // namespace

Event audio_start(int rate) { return {.type = "audio-start", .data = format_of(rate)}; }
Event audio_stop() { return {.type = "audio-stop"}; }

Event audio_chunk(std::span<const int16_t> samples, int rate) {
  Event event{.type = "audio-chunk", .data = format_of(rate)};
  const auto bytes = std::as_bytes(samples);
  event.payload.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return event;
}

void AudioDecoder::start(const Event& event, const std::string& peer) {
  const AudioFormat format{.rate = event.number("rate", kMaxAudioRate),
                           .width = event.number("width", kMaxAudioWidth),
                           .channels = event.number("channels", kMaxAudioChannels)};
  if (format.rate < kMinAudioRate || format.width < 1 || format.channels < 1) {
    throw Error(ErrorCode::io, "sends sound of a format that can't be: " + event.data.dump(-1, ' ', true), peer);
  }
  format_ = format;
  rest_.clear();
}

std::vector<int16_t> AudioDecoder::decode(const Event& event) {
  rest_ += event.payload;
  const size_t width = static_cast<size_t>(format_.width);
  const size_t frame = width * static_cast<size_t>(format_.channels);
  const size_t whole = rest_.size() / frame * frame;
  std::vector<int16_t> samples;
  samples.reserve(whole / frame);
  for (size_t at = 0; at < whole;) {
    int sum = 0;
    for (int channel = 0; channel < format_.channels; ++channel, at += width) {
      sum += upper(rest_.data() + at, format_.width);
    }
    samples.push_back(static_cast<int16_t>(sum / format_.channels));
  }
  rest_.erase(0, whole);
  return samples;
}

}  // namespace prosa::wyoming
