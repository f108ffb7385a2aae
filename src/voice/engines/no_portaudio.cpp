// AudioDevice where PortAudio was not there at build time: says so.
#include "prosa/audio.h"

namespace prosa {

struct AudioDevice::Stream {};

AudioDevice::AudioDevice(const Options& /*options*/) {
  throw Error(ErrorCode::unsupported, "this prosa was built without PortAudio", {},
              "give a WAV file, or install portaudio19-dev and build again");
}
AudioDevice::~AudioDevice() = default;
std::vector<std::string> AudioDevice::list() { return {}; }
bool AudioDevice::read(std::span<int16_t>, std::span<int16_t>, std::chrono::milliseconds) { return false; }
size_t AudioDevice::write(std::span<const int16_t>) { return 0; }
void AudioDevice::silence() noexcept {}
uint64_t AudioDevice::played() const noexcept { return 0; }
size_t AudioDevice::queued() const noexcept { return 0; }
std::chrono::milliseconds AudioDevice::latency() const noexcept { return {}; }
uint64_t AudioDevice::lost() const noexcept { return 0; }

}  // namespace prosa
