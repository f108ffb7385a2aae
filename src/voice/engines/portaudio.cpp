// AudioDevice by PortAudio: one stream in both directions, whose callback only copies between the system and two rings.
#include <dlfcn.h>
#include <portaudio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <semaphore>

#include "prosa/audio.h"
#include "voice/ring.h"

#if __has_include(<alsa/asoundlib.h>)
#include <alsa/asoundlib.h>
#define PROSA_ALSA_LOG
#endif

namespace prosa {
namespace {

constexpr size_t kMaxQueued = size_t{2} * kHeardRate;  // samples waiting to be played
constexpr size_t kMaxWaiting = 100;                    // frames that were heard: a second

struct Frame {
  std::array<int16_t, kFrameSamples> heard, played;
};

using JackLog = void (*)(const char*);
extern "C" void ignore_jack(const char*) {}
#ifdef PROSA_ALSA_LOG
extern "C" void ignore(const char*, int, const char*, int, const char*, ...) {}

/// PortAudio ends the process where ALSA's configuration has neither of the two devices that it looks at last.
bool alsa_has_its_devices() {
  ::snd_config_update();  // what it could not read is not there
  snd_config_t* found = nullptr;
  return ::snd_config != nullptr && (::snd_config_search(::snd_config, "pcm.default", &found) >= 0 ||
                                     ::snd_config_search(::snd_config, "pcm.dmix", &found) >= 0);
}
#endif

/// PortAudio while it is needed.
class Library {
 public:
  Library() {
    // ALSA and JACK tell the terminal of every device and server that is configured and not there. JACK is PortAudio's
    // own dependency, where it has one.
#ifdef PROSA_ALSA_LOG
    ::snd_lib_error_set_handler(ignore);
    if (!alsa_has_its_devices())
      throw Error(ErrorCode::not_found, "has no audio device, not even a default one", "ALSA's configuration",
                  "install libasound2-data, or mend what ALSA_CONFIG_PATH, /etc/asound.conf and ~/.asoundrc say");
#endif
    for (const char* log : {"jack_set_error_function", "jack_set_info_function"}) {
      if (auto* set = reinterpret_cast<void (*)(JackLog)>(::dlsym(RTLD_DEFAULT, log))) set(ignore_jack);
    }
    const PaError error = Pa_Initialize();
    if (error != paNoError) throw Error(ErrorCode::io, Pa_GetErrorText(error), "PortAudio");
  }
  ~Library() { Pa_Terminate(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

std::vector<std::string> describe_devices() {
  std::vector<std::string> lines;
  for (PaDeviceIndex i = 0; i < Pa_GetDeviceCount(); ++i) {
    const PaDeviceInfo* info = Pa_GetDeviceInfo(i);
    if (info == nullptr) continue;
    std::string line = info->name;
    if (info->maxInputChannels > 0) line += i == Pa_GetDefaultInputDevice() ? ", microphone (default)" : ", microphone";
    if (info->maxOutputChannels > 0)
      line += i == Pa_GetDefaultOutputDevice() ? ", loudspeaker (default)" : ", loudspeaker";
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string remedy() {
  std::string text = "there are:";
  for (const std::string& line : describe_devices()) text += (text.back() == ':' ? " " : "; ") + line;
  if (text.back() == ':') text += " no audio devices at all";
  return text;
}

PaStreamParameters find_device(const std::string& wanted, bool input) {
  const char* what = input ? "microphone" : "loudspeaker";
  std::optional<PaDeviceIndex> found;
  for (PaDeviceIndex i = 0; i < Pa_GetDeviceCount() && !wanted.empty() && !found; ++i) {
    const PaDeviceInfo* info = Pa_GetDeviceInfo(i);
    const bool able = info != nullptr && (input ? info->maxInputChannels : info->maxOutputChannels) > 0;
    if (able && std::string_view(info->name).find(wanted) != std::string_view::npos) found = i;
  }
  if (wanted.empty()) {
    const PaDeviceIndex index = input ? Pa_GetDefaultInputDevice() : Pa_GetDefaultOutputDevice();
    if (index != paNoDevice) found = index;
  }
  if (!found)
    throw Error(ErrorCode::not_found, (wanted.empty() ? "there is no " : "there is no such ") + std::string(what),
                wanted, remedy());
  const PaDeviceInfo* info = Pa_GetDeviceInfo(*found);
  return {.device = *found,
          .channelCount = 1,
          .sampleFormat = paInt16,
          .suggestedLatency = input ? info->defaultLowInputLatency : info->defaultLowOutputLatency,
          .hostApiSpecificStreamInfo = nullptr};
}

}  // namespace

struct AudioDevice::Stream {
  Library library;
  PaStream* stream = nullptr;
  voice::Ring<int16_t> queue{kMaxQueued};
  voice::Ring<Frame> frames{kMaxWaiting};
  std::counting_semaphore<> ready{0};  // about the number of frames; read() looks for itself
  std::atomic<uint64_t> played{0}, lost{0};

  explicit Stream(const Options& options) {
    const PaStreamParameters input = find_device(options.input, true), output = find_device(options.output, false);
    PaError error =
        Pa_OpenStream(&stream, &input, &output, kHeardRate, kFrameSamples, paNoFlag, &Stream::callback, this);
    if (error == paNoError) error = Pa_StartStream(stream);
    if (error == paNoError) return;
    if (stream != nullptr) Pa_CloseStream(stream);
    throw Error(ErrorCode::io, std::string("can't be opened: ") + Pa_GetErrorText(error), "the audio device", remedy());
  }
  ~Stream() {
    Pa_AbortStream(stream);
    Pa_CloseStream(stream);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// On the system's thread: never waits, never allocates.
  static int callback(const void* in, void* out, unsigned long count, const PaStreamCallbackTimeInfo*,
                      PaStreamCallbackFlags, void* self) {
    auto& stream = *static_cast<Stream*>(self);
    if (count != kFrameSamples) return paAbort;  // another count than was asked for
    Frame frame{};
    stream.played += stream.queue.take(frame.played);
    if (in != nullptr) std::copy_n(static_cast<const int16_t*>(in), kFrameSamples, frame.heard.begin());
    std::ranges::copy(frame.played, static_cast<int16_t*>(out));
    if (stream.frames.put(std::span(&frame, 1)) == 0)
      ++stream.lost;
    else
      stream.ready.release();
    return paContinue;
  }
};

AudioDevice::AudioDevice(const Options& options) : stream_(std::make_unique<Stream>(options)) {}
AudioDevice::~AudioDevice() = default;

std::vector<std::string> AudioDevice::list() {
  const Library library;
  return describe_devices();
}

bool AudioDevice::read(std::span<int16_t> heard, std::span<int16_t> played, std::chrono::milliseconds patience) {
  if (!stream_->ready.try_acquire_for(patience)) return false;
  Frame frame;
  if (stream_->frames.take(std::span(&frame, 1)) == 0) return false;
  std::ranges::copy(frame.heard, heard.begin());
  std::ranges::copy(frame.played, played.begin());
  return true;
}

size_t AudioDevice::write(std::span<const int16_t> samples) { return stream_->queue.put(samples); }
void AudioDevice::silence() noexcept { stream_->queue.drop(); }
uint64_t AudioDevice::played() const noexcept { return stream_->played; }
size_t AudioDevice::queued() const noexcept { return stream_->queue.size(); }
uint64_t AudioDevice::lost() const noexcept { return stream_->lost; }

std::chrono::milliseconds AudioDevice::latency() const noexcept {
  const PaStreamInfo* info = Pa_GetStreamInfo(stream_->stream);
  return std::chrono::milliseconds(info == nullptr ? 0 : static_cast<int64_t>(info->outputLatency * 1000));
}

}  // namespace prosa
