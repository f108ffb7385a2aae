// Sound in files and in devices: WAV files, the microphone and the loudspeaker.
//
// Not a player and not a pipeline: VoicePipeline (voice.h) decides what is said and when. Sound in memory is mono; what
// is heard is kHeardRate samples a second (voice_parts.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "prosa/error.h"
#include "prosa/voice_parts.h"

namespace prosa {

/// What a WAV file holds. Its channels are averaged.
struct Recording {
  int rate = 0;                     // samples a second
  int channels = 0;                 // that the file had
  bool truncated = false;           // the file ends before the sound it announces; `samples` is what is there
  std::vector<float> samples = {};  // [frames], -1 to 1
};

/// PCM of 8, 16, 24 or 32 bit or float of 32, any rate and number of channels, plain or extensible header. A size that
/// was never filled in (a pipe's) means: to the end. Errors: not_found; io; invalid_argument (damaged, larger than 256
/// MiB, no WAV file); unsupported (another coding, which the message names).
Recording read_wav(const std::filesystem::path& path);
/// As a pipeline hears it: kHeardRate, 16 bit.
std::vector<int16_t> to_heard(const Recording& recording);
/// A mono file of 16 bit, which appears whole or not at all. `samples` [n]; rate: samples a second. Error(io).
void write_wav(const std::filesystem::path& path, std::span<const int16_t> samples, int rate);

/// A microphone and a loudspeaker on one clock, both kHeardRate and mono: what was heard comes with what was played in
/// the same 10 milliseconds, as the echo canceller needs it.
///
/// Thread safety: read() by one thread, write() and silence() by one thread, the rest by any.
class AudioDevice {
 public:
  struct Options {
    std::string input = {};   // part of a device's name; "": the system's choice
    std::string output = {};  // the same
  };
  /// Errors: not_found (no such device: the remedy lists those that are there), io, unsupported (built without
  /// PortAudio).
  explicit AudioDevice(const Options& options);
  AudioDevice() : AudioDevice(Options{}) {}
  ~AudioDevice();
  AudioDevice(const AudioDevice&) = delete;
  AudioDevice& operator=(const AudioDevice&) = delete;

  /// A line for each device, for people.
  static std::vector<std::string> list();

  /// The next frame. heard, played: [kFrameSamples]. Waits for it as long as `patience`; false: none came.
  bool read(std::span<int16_t> heard, std::span<int16_t> played, std::chrono::milliseconds patience);
  /// Queues samples [n] to be played; how many there was room for (two seconds in all).
  size_t write(std::span<const int16_t> samples);
  /// Drops what is queued: silence within 10 milliseconds and what the system has buffered (latency()).
  void silence() noexcept;
  /// Samples of write() that were handed to the system. What left the loudspeaker is latency() less.
  [[nodiscard]] uint64_t played() const noexcept;
  /// Samples that are queued and not dropped.
  [[nodiscard]] size_t queued() const noexcept;
  [[nodiscard]] std::chrono::milliseconds latency() const noexcept;
  /// Frames that were heard and lost because read() came too late (a second is kept).
  [[nodiscard]] uint64_t lost() const noexcept;

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace prosa
