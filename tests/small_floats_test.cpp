// MLX's floating-point modes (mxfp4, mxfp8, nvfp4): the numbers that MLX reads, its quantizer, and folders that say so.
#include "model/small_floats.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/packed.h"
#include "checkpoint/quantize.h"
#include "convert_fixture.h"
#include "model/finite.h"

namespace prosa::checkpoint {
namespace {

using backend::cpu::pack;
using backend::cpu::PackedMatrix;

constexpr WeightCoding kModes[] = {WeightCoding::mxfp4, WeightCoding::mxfp8, WeightCoding::nvfp4};

/// One matrix quantized and read back by MLX on a CPU (tools/make_small_floats_fixture.py).
class FixtureOfMlx {
 public:
  [[nodiscard]] std::span<const std::byte> bytes(const std::string& name) const {
    return file_.data(*file_.find(name));
  }
  [[nodiscard]] Matrix matrix(WeightCoding mode) const {
    const std::string name(to_string(mode));
    const auto& shape = file_.find("matrix")->shape;
    Matrix matrix;
    matrix.rows = shape[0];
    matrix.cols = shape[1];
    matrix.format = WeightFormat::small_floats(mode);
    matrix.data = bytes(name + ".weight").data();
    matrix.scales = bytes(name + ".scales").data();
    return matrix;
  }
  /// Row by row what MLX reads.
  [[nodiscard]] std::vector<float> values(WeightCoding mode) const {
    const auto stored = bytes(std::string(to_string(mode)) + ".values");
    std::vector<float> values(stored.size() / sizeof(float));
    std::memcpy(values.data(), stored.data(), stored.size());
    return values;
  }

 private:
  format::SafetensorsFile file_ =
      format::SafetensorsFile::open(std::filesystem::path(PROSA_TEST_DATA) / "mlx_small_floats.safetensors");
};

TEST(SmallFloats, AreTheNumbersOfTheirFormats) {
  EXPECT_EQ(e2m1_to_float(5), 3.0F);
  EXPECT_EQ(e2m1_to_float(15), -kMaxE2m1);
  EXPECT_EQ(e4m3_to_float(0x38), 1.0F);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9F);
  EXPECT_EQ(e4m3_to_float(0x08), 0x1p-6F);
  EXPECT_EQ(e4m3_to_float(0xfe), -kMaxE4m3);
  EXPECT_TRUE(std::isnan(e4m3_to_float(0x7f)));
  EXPECT_TRUE(std::isnan(e4m3_to_float(0xff)));
  EXPECT_EQ(e8m0_to_float(127), 1.0F);
  EXPECT_EQ(e8m0_to_float(0), 0x1p-127F);
  EXPECT_TRUE(std::isinf(e8m0_to_float(255)));
}

TEST(SmallFloats, AreReadAsMlxReadsThem) {
  const FixtureOfMlx mlx;
  for (const WeightCoding mode : kModes) {
    const Matrix matrix = mlx.matrix(mode);
    const std::vector<float> expected = mlx.values(mode);
    std::vector<float> row(static_cast<size_t>(matrix.cols));
    for (int64_t r = 0; r < matrix.rows; ++r) {
      dequantize_row(matrix, r, row.data());
      for (size_t c = 0; c < row.size(); ++c) {
        ASSERT_EQ(row[c], expected[static_cast<size_t>(r) * row.size() + c]) << to_string(mode) << " " << r << " " << c;
      }
    }
  }
}

/// The cpu backend packs other codes, which stand for the same numbers.
TEST(SmallFloats, PackedHoldTheSameNumbers) {
  const FixtureOfMlx mlx;
  ThreadPool pool(1);
  for (const WeightCoding mode : kModes) {
    const Matrix matrix = mlx.matrix(mode);
    const PackedMatrix packed = pack(matrix, pool);
    std::vector<float> row(static_cast<size_t>(matrix.cols));
    std::vector<float> expected(row.size());
    for (int64_t r = 0; r < matrix.rows; ++r) {
      dequantize_row(matrix, r, expected.data());
      unpack_row(packed, r, row.data());
      for (size_t c = 0; c < row.size(); ++c) ASSERT_EQ(row[c], expected[c]) << to_string(mode) << " " << r << " " << c;
    }
  }
  EXPECT_EQ(backend::cpu::packed_bytes(mlx.matrix(WeightCoding::mxfp4)), 32 * (128 * 5 / 8 + 4 * 4));
}

TEST(SmallFloats, QuantizerGivesTheBytesOfMlx) {
  const FixtureOfMlx mlx;
  const Matrix expected = mlx.matrix(WeightCoding::mxfp4);
  const auto cols = static_cast<size_t>(expected.cols);
  Matrix source;
  source.rows = expected.rows;
  source.cols = expected.cols;
  source.data = mlx.bytes("matrix").data();
  std::vector<float> row(cols);
  std::vector<uint32_t> words(cols / 8);
  std::vector<uint8_t> scales(cols / 32);
  for (int64_t r = 0; r < source.rows; ++r) {
    dequantize_row(source, r, row.data());
    quantize_row_mxfp4(row, words, scales);
    EXPECT_EQ(std::memcmp(words.data(), expected.data + r * expected.cols / 2, cols / 2), 0) << r;
    EXPECT_EQ(std::memcmp(scales.data(), expected.scales + r * expected.cols / 32, cols / 32), 0) << r;
  }
  // Every magnitude that float32 has gets a scale with which it fits.
  for (float largest = 0x1p-120F; largest < 0x1p120F; largest *= 1.37F) {
    std::fill(row.begin(), row.end(), -largest);
    quantize_row_mxfp4(row, words, scales);
    EXPECT_LE(largest, kMaxE2m1 * e8m0_to_float(scales[0])) << largest;
    EXPECT_GT(largest, kMaxE2m1 / 2 * e8m0_to_float(scales[0])) << largest;
  }
}

TEST(SmallFloats, AConvertedFolderSaysItsModeAndIsRead) {
  const TempFolder folder;
  const auto target = folder.path() / "mxfp4";
  const RulePlan plan(WeightFormat::small_floats(WeightCoding::mxfp4));
  const QuantizationReport report = convert(golden("tiny-hf"), target, plan, {});
  const auto config = json_of(target / "config.json");
  EXPECT_EQ(config["quantization"]["mode"], "mxfp4");
  EXPECT_EQ(config["quantization"]["bits"], 4);
  EXPECT_EQ(config["quantization"]["group_size"], 32);
  const auto weights = load_weights(target);
  const auto source = load_weights(golden("tiny-hf"));
  EXPECT_EQ(weights->config.quantization.coding, WeightCoding::mxfp4);
  EXPECT_EQ(weights->embed_tokens.format, WeightFormat::small_floats(WeightCoding::mxfp4));
  EXPECT_EQ(weights->embed_tokens.biases, nullptr);
  EXPECT_NO_THROW(require_finite(*weights, 1));
  const auto stored = stored_tensors(target);
  EXPECT_EQ(stored.at("language_model.model.embed_tokens.scales").dtype, "U8");
  EXPECT_FALSE(stored.contains("language_model.model.embed_tokens.biases"));
  // 4.25 bits a weight, and nearer than a step of the coarsest codes.
  EXPECT_LT(report.bits_per_weight(), 4.5);
  for (const TensorReport& tensor : report.tensors) EXPECT_LT(tensor.relative_error.value_or(0), 0.2) << tensor.name;
  // bfloat16 holds every one of its numbers.
  convert(target, folder.path() / "bf16", rules(16, 64), {});
  expect_same_values(load_weights(folder.path() / "bf16")->embed_tokens, weights->embed_tokens);
}

/// One matrix of tiny-hf in a mode, all others dense.
EditableModel with_mode(WeightCoding mode) {
  EditableModel model("tiny-hf");
  const WeightFormat format = WeightFormat::small_floats(mode);
  const std::string module = "layers.0.mlp.down_proj.";
  EditableModel::Tensor& weight = model.tensor(module + "weight");
  const int64_t rows = weight.spec.shape[0];
  const int64_t cols = weight.spec.shape[1];
  std::string name = weight.spec.name;
  name.replace(name.size() - 6, 6, "scales");
  weight.spec.type = format::TensorType::u32;
  weight.spec.shape = {rows, cols * format.bits / 32};
  weight.bytes = std::string(static_cast<size_t>(rows * cols * format.bits / 8), '\x22');
  model.tensors.push_back({{name, format::TensorType::u8, {rows, format.groups(cols)}},
                           std::string(static_cast<size_t>(rows * format.groups(cols)), '\x38')});
  model.config["quantization"] = {{"mode", to_string(mode)}, {"bits", format.bits}, {"group_size", format.group_size}};
  return model;
}

TEST(SmallFloats, ConfigAndTensorsAreHeldAgainstEachOther) {
  for (const WeightCoding mode : kModes) {
    const std::string name(to_string(mode));
    EditableModel model = with_mode(mode);
    const auto weights = model.load();
    const Matrix& matrix = weights->layers[0].mlp.down_proj;
    EXPECT_EQ(matrix.format, WeightFormat::small_floats(mode));
    std::vector<float> row(static_cast<size_t>(matrix.cols));
    dequantize_row(matrix, 1, row.data());
    const float code = mode == WeightCoding::mxfp8 ? e4m3_to_float(0x22) : 1.0F;
    const float scale = mode == WeightCoding::nvfp4 ? 1.0F : 0x1p-71F;  // 0x38
    EXPECT_EQ(row[5], code * scale) << name;

    EditableModel no_number = model;  // a NaN, or the infinity of a power of two
    no_number.tensor("down_proj.scales").bytes[3] = mode == WeightCoding::nvfp4 ? '\x7f' : '\xff';
    const auto damaged = no_number.load();
    expect_error(ErrorCode::bad_checkpoint, {"scale [0, 3]"}, [&] { require_finite(*damaged, 1); });

    EditableModel group = model;
    group.config["quantization"]["group_size"] = 64;
    expect_error(ErrorCode::unsupported, {"with mode " + name}, [&] { group.load(); });
    EditableModel bare = model;
    bare.config["quantization"] = {{"mode", name}};
    EXPECT_EQ(bare.load()->layers[0].mlp.down_proj.format, WeightFormat::small_floats(mode));
    EditableModel affine = model;
    affine.config["quantization"] = {{"bits", 4}, {"group_size", 32}};
    EXPECT_THROW(affine.load(), Error) << "scales of a byte are no affine ones";
  }
  EditableModel other = with_mode(WeightCoding::mxfp4);
  other.config["quantization"]["mode"] = "mxfp6";
  expect_error(ErrorCode::unsupported, {"affine, mxfp4, mxfp8, nvfp4"}, [&] { other.load(); });
}

}  // namespace
}  // namespace prosa::checkpoint
