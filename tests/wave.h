// WAV files as any program might write them, right or wrong, for tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace prosa::test {

/// A WAV file as any program might write it, right or wrong.
struct Wave {
  int coding = 1;  // 1: PCM, 3: float
  int bits = 16;
  int channels = 1;
  int rate = 16'000;
  bool extensible = false;
  std::optional<uint32_t> riff_size = {};  // instead of the right one
  std::optional<uint32_t> data_size = {};
  std::optional<int> frame = {};
  std::string before_data = {};  // chunks
  std::string data = {};

  static std::string little(uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    return out;
  }
  static std::string chunk(const std::string& name, const std::string& body) {
    return name + little(body.size(), 4) + body + std::string(body.size() % 2, '\0');
  }
  [[nodiscard]] std::string bytes() const {
    const int width = frame.value_or(channels * bits / 8);
    std::string format = little(extensible ? 0xfffe : coding, 2) + little(channels, 2) + little(rate, 4) +
                         little(static_cast<uint64_t>(rate) * width, 4) + little(width, 2) + little(bits, 2);
    if (extensible) {
      format += little(22, 2) + little(bits, 2) + little(0, 4) + little(coding, 2);
      format += std::string("\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71", 14);
    }
    const std::string body = "WAVE" + chunk("fmt ", format) + before_data + "data" +
                             little(data_size.value_or(static_cast<uint32_t>(data.size())), 4) + data;
    return "RIFF" + little(riff_size.value_or(static_cast<uint32_t>(body.size())), 4) + body;
  }
};

/// `value`, -1 to 1, as a sample of the file.
inline std::string sample(const Wave& wave, double value) {
  if (wave.coding == 3) {
    const auto number = static_cast<float>(value);
    uint32_t raw = 0;
    std::memcpy(&raw, &number, sizeof raw);
    return Wave::little(raw, 4);
  }
  const auto number = static_cast<int64_t>(std::lrint(value * std::ldexp(1.0, wave.bits - 1)));
  return Wave::little(static_cast<uint64_t>(wave.bits == 8 ? number + 128 : number), wave.bits / 8);
}

}  // namespace prosa::test
