// Reading and writing WAV: chunks, the format, samples of every width.
#include "voice/wav.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/files.h"
#include "prosa/error.h"
#include "voice/resample.h"

namespace prosa::voice {
namespace {

constexpr size_t kMaxWavBytes = size_t{256} << 20;  // two hours of 16 kHz mono
constexpr int kMinWavRate = 1'000;
constexpr int kMaxWavRate = 768'000;
constexpr int kMaxWavChannels = 1'024;
constexpr size_t kChunkHead = 8;        // a name and a size
constexpr size_t kRiffHead = 12;        // "RIFF", its size, "WAVE"
constexpr size_t kPlainFormat = 16;     // bytes of a format chunk without extension
constexpr size_t kExtendedFormat = 40;  // with it
constexpr size_t kWrittenHead = 44;     // all that stands before the samples of a file written here
constexpr uint32_t kUnknownSize = ~0U;  // of writers that could not go back
constexpr uint16_t kPcm = 1, kFloat = 3, kExtensible = 0xfffe;

constexpr std::string_view kConvert = "convert it, for example: ffmpeg -i FILE -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav";

template <typename T>
T read_little(std::string_view bytes, size_t at) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct Format {
  uint16_t coding = 0;  // kPcm or kFloat
  int channels = 0;
  int rate = 0;
  size_t width = 0;  // bytes of a sample
};

class WavReader {
 public:
  WavReader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  Recording read() {
    read_riff();
    std::optional<Format> format;
    for (size_t at = kRiffHead; bytes_.size() - at >= kChunkHead;) {
      const std::string_view name = bytes_.substr(at, 4);
      const auto size = read_little<uint32_t>(bytes_, at + 4);
      at += kChunkHead;
      const size_t there = std::min<size_t>(size, bytes_.size() - at);
      if (name == "fmt ") format = read_format(bytes_.substr(at, there), size);
      if (name == "data") {
        if (!format) damaged("the samples stand before their format");
        return read_samples(*format, at, size);
      }
      if (there < size) break;
      at += std::min(size_t{size} + size % 2, bytes_.size() - at);  // chunks begin at even places
    }
    damaged(format ? "there is no sound in it" : "there is no format in it");
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(ErrorCode::invalid_argument, "is not a usable WAV file: " + what, where_);
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::unsupported, what, where_, std::string(kConvert));
  }

  void read_riff() {
    if (bytes_.empty()) damaged("it is empty");
    const std::string_view kind = bytes_.substr(0, 4);
    if (kind == "RF64" || kind == "BW64" || kind == "RIFX") unsupported(fmt::format("is a {} file", kind));
    if (kind != "RIFF") damaged("it does not begin with RIFF");
    if (bytes_.size() < kRiffHead) damaged("it ends inside its header");
    if (bytes_.substr(8, 4) != "WAVE") damaged("it holds something other than sound");
    const auto size = read_little<uint32_t>(bytes_, 4);
    streamed_ = size == 0 || size == kUnknownSize;
  }

  Format read_format(std::string_view chunk, size_t announced) const {
    if (chunk.size() < std::max(kPlainFormat, std::min(announced, kExtendedFormat))) {
      damaged("its format is cut off");
    }
    Format format;
    auto coding = read_little<uint16_t>(chunk, 0);
    format.channels = read_little<uint16_t>(chunk, 2);
    const auto rate = read_little<uint32_t>(chunk, 4);
    const auto frame = read_little<uint16_t>(chunk, 12);
    const auto bits = read_little<uint16_t>(chunk, 14);
    if (coding == kExtensible) {
      if (chunk.size() < kExtendedFormat) damaged("its extended format is cut off");
      coding = read_little<uint16_t>(chunk, 24);  // the first two bytes of the coding's long name
    }
    if (coding != kPcm && coding != kFloat) unsupported(fmt::format("is a WAV file of coding {}", coding));
    if (coding == kPcm ? bits != 8 && bits != 16 && bits != 24 && bits != 32 : bits != 32) {
      unsupported(fmt::format("has {} samples of {} bit", coding == kPcm ? "PCM" : "float", bits));
    }
    if (format.channels < 1 || format.channels > kMaxWavChannels) {
      damaged(fmt::format("it says it has {} channels", format.channels));
    }
    if (rate < kMinWavRate || rate > kMaxWavRate) damaged(fmt::format("it says it has {} samples a second", rate));
    format.coding = coding;
    format.rate = static_cast<int>(rate);
    format.width = bits / 8;
    if (frame != static_cast<size_t>(format.channels) * format.width) {
      damaged(fmt::format("{} channels of {} bit do not take {} bytes", format.channels, bits, frame));
    }
    return format;
  }

  Recording read_samples(const Format& format, size_t at, uint32_t size) const {
    const size_t there = bytes_.size() - at;
    const bool open_end = size == kUnknownSize || (size == 0 && streamed_);
    const size_t bytes = open_end ? there : std::min<size_t>(size, there);
    Recording recording{.rate = format.rate, .channels = format.channels, .truncated = !open_end && size > there};
    const size_t frame = format.width * static_cast<size_t>(format.channels);
    if (!open_end && bytes % frame != 0) recording.truncated = true;
    recording.samples.reserve(bytes / frame);
    const float share = 1.0F / static_cast<float>(format.channels);
    for (size_t end = at + bytes / frame * frame; at < end;) {
      float sum = 0;
      for (int channel = 0; channel < format.channels; ++channel, at += format.width) sum += sample(format, at);
      recording.samples.push_back(sum * share);
    }
    return recording;
  }

  /// -1 to 1, whatever the bytes are.
  float sample(const Format& format, size_t at) const {
    if (format.coding == kFloat) {
      const auto value = read_little<float>(bytes_, at);
      return std::isnan(value) ? 0.0F : std::clamp(value, -1.0F, 1.0F);
    }
    switch (format.width) {
      case 1: return (static_cast<float>(read_little<uint8_t>(bytes_, at)) - 128.0F) / 128.0F;  // the only unsigned one
      case 2: return static_cast<float>(read_little<int16_t>(bytes_, at)) / 32768.0F;
      case 3: {
        const auto low = read_little<uint16_t>(bytes_, at);
        const auto high = read_little<int8_t>(bytes_, at + 2);
        return static_cast<float>(high * 65536 + low) / 8388608.0F;
      }
      default: return static_cast<float>(read_little<int32_t>(bytes_, at)) / 2147483648.0F;
    }
  }

  std::string_view bytes_;
  const std::string& where_;
  bool streamed_ = false;  // the file's size was unknown to its writer
};

void append_little(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

Recording parse_wav(std::string_view bytes, const std::string& where) { return WavReader(bytes, where).read(); }

std::string encode_wav(std::span<const int16_t> samples, int rate) {
  PROSA_CHECK(rate > 0);
  const size_t bytes = samples.size_bytes();
  if (bytes > std::numeric_limits<uint32_t>::max() - kWrittenHead) {
    throw Error(ErrorCode::invalid_argument, "the sound is longer than a WAV file can hold");
  }
  const auto hertz = static_cast<uint32_t>(rate);
  std::string out = "RIFF";
  out.reserve(kWrittenHead + bytes);
  append_little(out, static_cast<uint32_t>(kWrittenHead - kChunkHead + bytes), 4);
  out += "WAVEfmt ";
  append_little(out, kPlainFormat, 4);
  append_little(out, kPcm, 2);
  append_little(out, 1, 2);  // channel
  append_little(out, hertz, 4);
  append_little(out, hertz * 2, 4);  // bytes a second
  append_little(out, 2, 2);          // bytes a frame
  append_little(out, 16, 2);         // bits a sample
  out += "data";
  append_little(out, static_cast<uint32_t>(bytes), 4);
  const auto raw = std::as_bytes(samples);
  out.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  return out;
}

}  // namespace prosa::voice

namespace prosa {

Recording read_wav(const std::filesystem::path& path) {
  return voice::parse_wav(read_file(path, voice::kMaxWavBytes), path.string());
}

std::vector<int16_t> to_heard(const Recording& recording) {
  return voice::to_int16(voice::resample(recording.samples, recording.rate, kHeardRate));
}

void write_wav(const std::filesystem::path& path, std::span<const int16_t> samples, int rate) {
  replace_file(path, voice::encode_wav(samples, rate));
}

}  // namespace prosa
