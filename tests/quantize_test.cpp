// The affine quantizer: bit streams against a bit-by-bit reading, and whole tensors against files that MLX made.
//
// Not the loader. The golden quantized folders were converted from tiny-hf, so quantizing its matrices must give their
// very bytes.
#include "checkpoint/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/names.h"
#include "format/safetensors.h"
#include "model/dequantize.h"

namespace prosa::checkpoint {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(PROSA_TEST_DATA) / "golden";
constexpr int kBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kGroups[] = {32, 64, 128};

/// Bit `index` of a little-endian stream.
uint32_t bit_of(const std::vector<uint32_t>& words, size_t index) { return words[index / 32] >> (index % 32) & 1U; }

TEST(PackRow, IsOneLittleEndianBitStream) {
  std::mt19937 random(1);
  for (const int bits : kBits) {
    std::vector<uint8_t> q(96);
    for (uint8_t& value : q) value = static_cast<uint8_t>(random() & ((1U << bits) - 1U));
    std::vector<uint32_t> words(q.size() * static_cast<size_t>(bits) / 32);
    pack_row(q, bits, words);
    for (size_t i = 0; i < q.size(); ++i) {
      for (size_t b = 0; b < static_cast<size_t>(bits); ++b) {
        ASSERT_EQ(bit_of(words, i * static_cast<size_t>(bits) + b), q[i] >> b & 1U)
            << "bits " << bits << " value " << i;
      }
    }
  }
}

TEST(PackRow, UnpackIsItsInverseAtEveryAlignment) {
  std::mt19937 random(2);
  for (const int bits : kBits) {
    for (size_t cols = 32; cols <= 320; cols += 32) {
      std::vector<uint8_t> q(cols);
      for (uint8_t& value : q) value = static_cast<uint8_t>(random() & ((1U << bits) - 1U));
      std::vector<uint32_t> words(cols * static_cast<size_t>(bits) / 32);
      pack_row(q, bits, words);
      for (size_t shift = 0; shift < 4; ++shift) {
        std::vector<std::byte> bytes(words.size() * 4 + shift);  // exact size: an over-read is seen by ASan
        std::memcpy(bytes.data() + shift, words.data(), words.size() * 4);
        std::vector<uint8_t> back(cols);
        unpack_row(bytes.data() + shift, bits, back);
        ASSERT_EQ(back, q) << "bits " << bits << " cols " << cols << " shift " << shift;
      }
    }
  }
}

/// One matrix quantized by MLX on a CPU in every format (tools/make_quantize_fixture.py): ties, constants, zeros, tiny
/// and large values, an outlier.
TEST(QuantizeRow, GivesTheBytesOfMlxInEveryFormat) {
  const auto file = format::SafetensorsFile::open(std::filesystem::path(PROSA_TEST_DATA) / "mlx_quantized.safetensors");
  const auto bytes = [&](const std::string& name) { return file.data(*file.find(name)); };
  const format::TensorEntry& matrix = *file.find("matrix");
  const auto rows = static_cast<size_t>(matrix.shape[0]);
  const auto cols = static_cast<size_t>(matrix.shape[1]);
  for (const int bits : kBits) {
    for (const int group : kGroups) {
      const std::string format = std::to_string(bits) + "." + std::to_string(group);
      std::vector<float> row(cols);
      std::vector<uint32_t> words(cols * static_cast<size_t>(bits) / 32);
      std::vector<uint16_t> scales(cols / static_cast<size_t>(group));
      std::vector<uint16_t> biases(scales.size());
      for (size_t r = 0; r < rows; ++r) {
        for (size_t c = 0; c < cols; ++c) {
          uint16_t half = 0;
          std::memcpy(&half, bytes("matrix").data() + (r * cols + c) * 2, 2);
          row[c] = bf16_to_float(half);
        }
        quantize_row(row, WeightFormat::affine(bits, group), words, scales, biases, ScaleRule::divided);
        const auto same = [&](const char* part, const auto& ours) {
          const size_t size = ours.size() * sizeof ours[0];
          return std::memcmp(bytes(format + part).data() + r * size, ours.data(), size) == 0;
        };
        EXPECT_TRUE(same(".weight", words)) << format << " row " << r;
        EXPECT_TRUE(same(".scales", scales)) << format << " row " << r;
        EXPECT_TRUE(same(".biases", biases)) << format << " row " << r;
      }
    }
  }
}

/// Quantizes one row and reads it back through dequantize_row().
std::vector<float> round_trip(const std::vector<float>& row, int bits, int group) {
  std::vector<uint32_t> words(row.size() * static_cast<size_t>(bits) / 32);
  std::vector<uint16_t> scales(row.size() / static_cast<size_t>(group));
  std::vector<uint16_t> biases(scales.size());
  quantize_row(row, WeightFormat::affine(bits, group), words, scales, biases);
  Matrix matrix;
  matrix.rows = 1;
  matrix.cols = static_cast<int64_t>(row.size());
  matrix.format = WeightFormat::affine(bits, group);
  matrix.data = reinterpret_cast<const std::byte*>(words.data());
  matrix.scales = reinterpret_cast<const std::byte*>(scales.data());
  matrix.biases = reinterpret_cast<const std::byte*>(biases.data());
  std::vector<float> back(row.size());
  dequantize_row(matrix, 0, back.data());
  return back;
}

TEST(QuantizeRow, ErrorStaysWithinAStepOfTheGroup) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const int bits : kBits) {
    for (const int group : kGroups) {
      std::vector<float> row(384);
      for (float& value : row) value = normal(random);
      const std::vector<float> back = round_trip(row, bits, group);
      for (size_t start = 0; start < row.size(); start += static_cast<size_t>(group)) {
        const auto [low, high] = std::minmax_element(row.begin() + static_cast<ptrdiff_t>(start),
                                                     row.begin() + static_cast<ptrdiff_t>(start) + group);
        // Half a step of rounding, up to half a step by which the edge stretches the grid, and bf16 scale and bias.
        const float step = (*high - *low) / static_cast<float>((1 << bits) - 1);
        const float bf16 = 2.0F * std::max(std::fabs(*low), std::fabs(*high)) / 128.0F;
        for (size_t i = start; i < start + static_cast<size_t>(group); ++i) {
          ASSERT_LE(std::fabs(back[i] - row[i]), step + bf16) << "bits " << bits << " group " << group;
        }
      }
    }
  }
}

TEST(QuantizeRow, ConstantAndZeroGroupsStayWhatTheyAre) {
  for (const int bits : kBits) {
    const std::vector<float> zeros(64, 0.0F);
    EXPECT_EQ(round_trip(zeros, bits, 64), zeros);
    for (const float constant : {1.5F, -0.25F}) {
      const std::vector<float> row(64, constant);
      for (const float value : round_trip(row, bits, 64)) EXPECT_FLOAT_EQ(value, constant);
    }
  }
}

TEST(DequantizeRow, ReadsDenseRowsOfEveryType) {
  const std::vector<float> values{1.0F, -2.5F, 0.0F, 0x1p-14F};
  std::vector<uint16_t> bf16;
  std::vector<uint16_t> f16;
  for (const float value : values) {
    bf16.push_back(float_to_bf16(value));
    f16.push_back(float_to_f16(value));
  }
  const auto row_of = [](DType type, const void* data) {
    Matrix matrix;
    matrix.rows = 2;
    matrix.cols = 2;
    matrix.format = WeightFormat::dense(type);
    matrix.data = static_cast<const std::byte*>(data);
    std::vector<float> row(2);
    dequantize_row(matrix, 1, row.data());
    return row;
  };
  const std::vector<float> expected{0.0F, 0x1p-14F};
  EXPECT_EQ(row_of(DType::f32, values.data()), expected);
  EXPECT_EQ(row_of(DType::bf16, bf16.data()), expected);
  EXPECT_EQ(row_of(DType::f16, f16.data()), expected);
}

/// Every quantized matrix of a golden folder, made again from the raw one.
class GoldenQuantization : public testing::TestWithParam<const char*> {};

TEST_P(GoldenQuantization, IsMadeAgainByteForByte) {
  const auto raw = format::SafetensorsFile::open(kGolden / "tiny-hf/model.safetensors");
  const auto golden = format::SafetensorsFile::open(kGolden / GetParam() / "model.safetensors");
  const auto listings = list_tensors(kGolden / GetParam());
  int compared = 0;
  for (const TensorListing& listing : listings) {
    if (!listing.format) continue;
    const std::string canonical = canonical_name(listing.name).name;
    const format::TensorEntry* source = raw.find("model.language_model." + canonical);
    ASSERT_NE(source, nullptr) << canonical;
    const std::string module = listing.name.substr(0, listing.name.size() - std::strlen(".weight"));
    const auto weight = golden.data(*golden.find(listing.name));
    const auto scales = golden.data(*golden.find(module + ".scales"));
    const auto biases = golden.data(*golden.find(module + ".biases"));
    const auto cols = static_cast<size_t>(source->shape[1]);
    const size_t groups = cols / static_cast<size_t>(listing.format->group_size);
    const std::byte* in = raw.data(*source).data();
    std::vector<float> row(cols);
    std::vector<uint32_t> words(cols * static_cast<size_t>(listing.format->bits) / 32);
    std::vector<uint16_t> row_scales(groups);
    std::vector<uint16_t> row_biases(groups);
    for (size_t r = 0; r < static_cast<size_t>(source->shape[0]); ++r) {
      for (size_t c = 0; c < cols; ++c) {
        uint16_t bits = 0;
        std::memcpy(&bits, in + (r * cols + c) * 2, 2);
        row[c] = bf16_to_float(bits);
      }
      quantize_row(row, *listing.format, words, row_scales, row_biases);
      ASSERT_EQ(std::memcmp(words.data(), weight.data() + r * words.size() * 4, words.size() * 4), 0) << module << r;
      ASSERT_EQ(std::memcmp(row_scales.data(), scales.data() + r * groups * 2, groups * 2), 0) << module << r;
      ASSERT_EQ(std::memcmp(row_biases.data(), biases.data() + r * groups * 2, groups * 2), 0) << module << r;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 32);  // embedding, 3 x 5 + 4 mixers' matrices, 4 x 3 MLP matrices
}

INSTANTIATE_TEST_SUITE_P(Folders, GoldenQuantization,
                         testing::Values("tiny-mlx-4bit", "tiny-mlx-mixed", "tiny-flat-5bit", "tiny-flat-8bit"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace prosa::checkpoint
