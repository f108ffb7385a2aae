// WAV files: every format gives the same sound, what a header lies about costs nothing, and resampling keeps the sound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <numbers>
#include <random>

#include "prosa/audio.h"
#include "prosa/error.h"
#include "temp_folder.h"
#include "voice/resample.h"
#include "voice/wav.h"
#include "wave.h"

namespace prosa {
namespace {

using test::sample;
using test::Wave;
using testing::HasSubstr;
using voice::encode_wav;
using voice::parse_wav;

TEST(Wav, EveryFormatGivesTheSameSound) {
  std::mt19937 random(1);
  const struct { int coding, bits; } formats[] = {{1, 8}, {1, 16}, {1, 24}, {1, 32}, {3, 32}};
  for (const auto& format : formats) {
    for (const int channels : {1, 2, 6}) {
      for (const bool extensible : {false, true}) {
        Wave wave{.coding = format.coding,
                  .bits = format.bits,
                  .channels = channels,
                  .rate = 44'100,
                  .extensible = extensible};
        std::vector<float> expected;
        for (int i = 0; i < 200; ++i) {
          float sum = 0;
          for (int channel = 0; channel < channels; ++channel) {
            const double value = static_cast<double>(static_cast<int>(random() % 255) - 127) / 128;  // exact in 8 bit
            wave.data += sample(wave, value);
            sum += static_cast<float>(value);
          }
          expected.push_back(sum / static_cast<float>(channels));
        }
        const Recording read = parse_wav(wave.bytes(), "test");
        EXPECT_EQ(read.rate, 44'100);
        EXPECT_EQ(read.channels, channels);
        EXPECT_FALSE(read.truncated);
        ASSERT_EQ(read.samples.size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(read.samples[i], expected[i], 1e-6) << format.bits;
      }
    }
  }
}

TEST(Wav, WhatWasWrittenIsReadAgain) {
  std::mt19937 random(2);
  std::vector<int16_t> samples(1001);
  for (int16_t& each : samples) each = static_cast<int16_t>(random());
  samples[0] = INT16_MIN;
  samples[1] = INT16_MAX;
  const TempFolder folder;
  write_wav(folder.path() / "a.wav", samples, kHeardRate);
  EXPECT_EQ(to_heard(read_wav(folder.path() / "a.wav")), samples);
  write_wav(folder.path() / "none.wav", {}, 8'000);
  EXPECT_TRUE(read_wav(folder.path() / "none.wav").samples.empty());
  EXPECT_THROW(write_wav(folder.path() / "no/such/folder.wav", samples, 8'000), Error);
}

TEST(Wav, TruncatedSoundIsWhatIsThere) {
  const std::vector<int16_t> samples(100, 1000);
  const std::string whole = encode_wav(samples, kHeardRate);
  for (size_t cut = 44; cut < whole.size(); ++cut) {
    const Recording read = parse_wav(whole.substr(0, cut), "cut");
    EXPECT_TRUE(read.truncated);
    EXPECT_EQ(read.samples.size(), (cut - 44) / 2);
  }
  for (size_t cut = 0; cut < 44; ++cut) EXPECT_THROW(parse_wav(whole.substr(0, cut), "cut"), Error) << cut;
}

TEST(Wav, LyingSizesCostNothing) {
  Wave wave{.data = std::string(400, '\1')};
  wave.riff_size = 4;
  EXPECT_EQ(parse_wav(wave.bytes(), "").samples.size(), 200U);
  wave.riff_size = 0xffffffff;  // as ffmpeg writes to a pipe
  wave.data_size = 0xffffffff;
  EXPECT_EQ(parse_wav(wave.bytes(), "").samples.size(), 200U);
  EXPECT_FALSE(parse_wav(wave.bytes(), "").truncated);
  wave.riff_size = 0;  // as others do
  wave.data_size = 0;
  EXPECT_EQ(parse_wav(wave.bytes(), "").samples.size(), 200U);
  wave.data_size = 0xfffffff0;
  EXPECT_TRUE(parse_wav(wave.bytes(), "").truncated);
  wave.data_size = 100;  // less than there is: the rest is something else
  EXPECT_EQ(parse_wav(wave.bytes(), "").samples.size(), 50U);
  wave.data_size = 101;
  EXPECT_TRUE(parse_wav(wave.bytes(), "").truncated);
}

TEST(Wav, ChunksBetweenAreSkipped) {
  Wave wave{.data = std::string(20, '\1')};
  wave.before_data = Wave::chunk("LIST", std::string(33, 'x')) + Wave::chunk("fact", "1234");
  EXPECT_EQ(parse_wav(wave.bytes(), "").samples.size(), 10U);
}

TEST(Wav, WhatIsNoSoundIsATypedError) {
  const auto message = [](const std::string& bytes, ErrorCode code) -> std::string {
    try {
      parse_wav(bytes, "file.wav");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_EQ(error.where(), "file.wav");
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
  };
  const auto bad = ErrorCode::invalid_argument, unknown = ErrorCode::unsupported;
  message("", bad);
  message("ID3 something else entirely", bad);
  EXPECT_THAT(message("RF64" + std::string(100, '\0'), unknown), HasSubstr("ffmpeg"));
  EXPECT_THAT(message(Wave{.coding = 6, .bits = 8}.bytes(), unknown), HasSubstr("coding 6"));
  EXPECT_THAT(message(Wave{.bits = 12, .frame = 2}.bytes(), unknown), HasSubstr("12 bit"));
  EXPECT_THAT(message(Wave{.coding = 3, .bits = 64}.bytes(), unknown), HasSubstr("64 bit"));
  EXPECT_THAT(message(Wave{.channels = 0}.bytes(), bad), HasSubstr("0 channels"));
  EXPECT_THAT(message(Wave{.rate = 0}.bytes(), bad), HasSubstr("0 samples a second"));
  EXPECT_THAT(message(Wave{.frame = 0}.bytes(), bad), HasSubstr("0 bytes"));
  EXPECT_THAT(message(std::string("RIFF\x40\0\0\0WAVEdata\4\0\0\0abcd", 24), bad), HasSubstr("before their format"));
  std::string plain = Wave{}.bytes();
  EXPECT_THAT(message(plain.substr(0, plain.size() - 8), bad), HasSubstr("no sound"));
}

TEST(Wav, NoBytesCrashTheReader) {
  std::mt19937 random(3);
  Wave wave{.bits = 24, .channels = 2, .extensible = true, .data = std::string(60, '\7')};
  wave.before_data = Wave::chunk("LIST", "some text");
  const std::string good = wave.bytes();
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good.substr(0, random() % 4 == 0 ? random() % good.size() : good.size());
    for (size_t k = random() % 4; k > 0 && !bytes.empty(); --k)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      for (const float value : parse_wav(bytes, "").samples) ASSERT_TRUE(value >= -1 && value <= 1);
    } catch (const Error&) {
    }
  }
}

TEST(Wav, FloatsThatAreNoSoundAreSilenceOrTheLoudest) {
  Wave wave{.coding = 3, .bits = 32};
  for (const double value : {0.5, std::nan(""), 1e30, -1e30}) wave.data += sample(wave, value);
  EXPECT_THAT(parse_wav(wave.bytes(), "").samples, testing::ElementsAre(0.5F, 0.0F, 1.0F, -1.0F));
}

/// A tone of `hertz` for `seconds`.
std::vector<float> tone(double hertz, int rate, double seconds, double loudness = 0.5) {
  std::vector<float> out(static_cast<size_t>(seconds * rate));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(loudness * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / rate));
  }
  return out;
}

TEST(Resample, KeepsATonesPlaceAndLoudness) {
  for (const int from : {8'000, 22'050, 24'000, 44'100, 48'000}) {
    const auto out = voice::resample(tone(440, from, 1), from, kHeardRate);
    const auto expected = tone(440, kHeardRate, 1);
    ASSERT_NEAR(static_cast<double>(out.size()), kHeardRate, 2) << from;
    for (size_t i = 400; i + 400 < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 2e-4) << from << " at " << i;
  }
}

TEST(Resample, WhatTheLowerRateCantHoldIsTakenOut) {
  const auto out = voice::resample(tone(11'000, 48'000, 1), 48'000, kHeardRate);  // would alias to 5 kHz
  for (size_t i = 400; i + 400 < out.size(); ++i) ASSERT_LT(std::abs(out[i]), 1e-4);
}

TEST(Resample, PiecesGiveWhatTheWholeGives) {
  const auto samples = voice::to_int16(tone(700, 24'000, 0.5));
  voice::Resampler whole(24'000, kHeardRate), pieces(24'000, kHeardRate);
  const auto expected = whole.push(samples, true);
  std::vector<int16_t> out;
  std::mt19937 random(4);
  for (size_t at = 0; at < samples.size();) {
    const size_t count = std::min<size_t>(random() % 700, samples.size() - at);
    const auto piece = pieces.push(std::span(samples).subspan(at, count));
    out.insert(out.end(), piece.begin(), piece.end());
    at += count;
  }
  const auto last = pieces.push({}, true);
  out.insert(out.end(), last.begin(), last.end());
  ASSERT_EQ(out.size(), expected.size());
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1);
}

TEST(Wav, EightKilohertzStereoIsHeard) {
  Wave wave{.bits = 8, .channels = 2, .rate = 8'000};
  for (const float value : tone(440, 8'000, 1)) wave.data += sample(wave, value) + sample(wave, -0.25);
  const auto heard = to_heard(parse_wav(wave.bytes(), ""));
  const auto expected = tone(440, kHeardRate, 1, 0.25);
  ASSERT_NEAR(static_cast<double>(heard.size()), kHeardRate, 2);
  for (size_t i = 400; i + 400 < heard.size(); ++i) ASSERT_NEAR(heard[i] / 32768.0, expected[i] - 0.125, 0.01);
}

}  // namespace
}  // namespace prosa
