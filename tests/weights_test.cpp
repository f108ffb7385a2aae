// The vocabulary of weights: formats, the walk over a model's matrices, and the number that tells models apart.
#include "model/weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/names.h"
#include "model/fingerprint.h"
#include "model/finite.h"
#include "model/for_each_matrix.h"
#include "test_files.h"

namespace prosa {
namespace {

std::shared_ptr<const Weights> load(const std::string& name) { return checkpoint::load_weights(test::golden(name)); }

TEST(WeightFormat, CountsWhatAFileHolds) {
  const auto affine = WeightFormat::affine(4, 64);
  EXPECT_EQ(affine.row_bytes(1024), 512);
  EXPECT_EQ(affine.groups(1024), 16);
  EXPECT_EQ(affine.bytes(10, 1024), 10 * (512 + 16 * 4));
  EXPECT_DOUBLE_EQ(affine.bits_per_weight(), 4.5);
  EXPECT_DOUBLE_EQ(WeightFormat::affine(3, 128, DType::f32).bits_per_weight(), 3.5);
  EXPECT_EQ(WeightFormat::affine(3, 32, DType::f32).bytes(1, 96), 36 + 3 * 8);
  EXPECT_EQ(WeightFormat::dense(DType::f32).bytes(3, 5), 60);
  EXPECT_EQ(WeightFormat::dense(DType::f16).bytes(3, 5), 30);
  EXPECT_DOUBLE_EQ(WeightFormat::dense(DType::f32).bits_per_weight(), 32);
}

TEST(WeightFormat, KnowsWhichFormatsExist) {
  for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16}) {
    const bool exists = bits >= 2 && bits <= 8 && bits != 7;
    for (const int group : {16, 32, 48, 64, 128, 256}) {
      const bool group_exists = group == 32 || group == 64 || group == 128;
      EXPECT_EQ(WeightFormat::affine(bits, group).is_known(), exists && group_exists) << bits << " in " << group;
    }
  }
  for (const DType type : {DType::bf16, DType::f16, DType::f32}) EXPECT_TRUE(WeightFormat::dense(type).is_known());
  WeightFormat impossible = WeightFormat::dense(DType::bf16);
  impossible.group_size = 64;
  EXPECT_FALSE(impossible.is_known());
}

/// A lone matrix as the embedding of a model without layers.
Weights model_of(const Matrix& matrix) {
  Weights weights;
  weights.embed_tokens = matrix;
  weights.lm_head = matrix;
  return weights;
}

TEST(RequireFinite, NamesTheValueThatIsNone) {
  constexpr int64_t kRows = 70;
  constexpr int64_t kCols = 300;  // blocks of the search end within rows
  for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
    const size_t width = dtype_size(type);
    const std::vector<uint64_t> bad = type == DType::bf16  ? std::vector<uint64_t>{0x7f80, 0xff80, 0x7fc1}
                                      : type == DType::f16 ? std::vector<uint64_t>{0x7c00, 0xfc00, 0x7e01}
                                                           : std::vector<uint64_t>{0x7f800000, 0xff800000, 0x7f800001};
    std::vector<std::byte> bytes(1 + kRows * kCols * width, std::byte{0x3b});  // unaligned, as in files
    Matrix matrix;
    matrix.name = "the.matrix";
    matrix.rows = kRows;
    matrix.cols = kCols;
    matrix.format = WeightFormat::dense(type);
    matrix.data = bytes.data() + 1;
    EXPECT_NO_THROW(require_finite(model_of(matrix), 2));
    for (const uint64_t bits : bad) {
      for (const auto& [row, col] : {std::pair<int64_t, int64_t>{0, 0}, {41, 7}, {kRows - 1, kCols - 1}}) {
        std::vector<std::byte> damaged = bytes;
        std::memcpy(&damaged[1 + static_cast<size_t>(row * kCols + col) * width], &bits, width);
        matrix.data = damaged.data() + 1;
        test::expect_error(ErrorCode::bad_checkpoint,
                           {"value [" + std::to_string(row) + ", " + std::to_string(col) + "]", "'the.matrix'"},
                           [&] { require_finite(model_of(matrix), 2); });
      }
    }
  }
}

TEST(RequireFinite, LooksAtScalesAndBiasesOfCodes) {
  const std::vector<std::byte> codes(8 * 64 / 2, std::byte{0xff});
  std::vector<uint16_t> scales(8 * 2, 0x3f80);
  std::vector<uint16_t> biases = scales;
  Matrix matrix;
  matrix.name = "q";
  matrix.rows = 8;
  matrix.cols = 64;
  matrix.format = WeightFormat::affine(4, 32);
  matrix.data = codes.data();
  matrix.scales = reinterpret_cast<const std::byte*>(scales.data());
  matrix.biases = reinterpret_cast<const std::byte*>(biases.data());
  EXPECT_NO_THROW(require_finite(model_of(matrix), 1));
  biases[5] = 0x7fc0;
  test::expect_error(ErrorCode::bad_checkpoint, {"bias [2, 1] of 'q'"}, [&] { require_finite(model_of(matrix), 1); });
  scales[2] = 0xff80;
  test::expect_error(ErrorCode::bad_checkpoint, {"scale [1, 0] of 'q'"}, [&] { require_finite(model_of(matrix), 1); });
}

TEST(WeightFormat, FitsWholeGroupsOnly) {
  EXPECT_TRUE(WeightFormat::affine(4, 64).fits(192));
  EXPECT_FALSE(WeightFormat::affine(4, 128).fits(192));
  EXPECT_TRUE(WeightFormat::dense(DType::bf16).fits(7));
}

TEST(WeightFormat, HasNamesAndAnOrder) {
  EXPECT_EQ(WeightFormat().name(), "bf16");
  EXPECT_EQ(WeightFormat::dense(DType::f32).name(), "f32");
  EXPECT_EQ(WeightFormat::affine(4, 64).name(), "4 bit, group 64");
  EXPECT_LT(WeightFormat::dense(DType::bf16), WeightFormat::affine(2, 32));
  EXPECT_LT(WeightFormat::affine(4, 32), WeightFormat::affine(4, 64));
  EXPECT_LT(WeightFormat::affine(3, 128), WeightFormat::affine(4, 32));
  EXPECT_NE(WeightFormat::affine(4, 64), WeightFormat::affine(4, 64, DType::f32));
}

TEST(ForEachMatrix, VisitsEveryMatrixOfTheFileOnce) {
  for (const char* name : {"tiny-hf", "tiny-mlx-mixed", "grouped-mlx-4bit", "tiny-flat-8bit"}) {
    std::set<std::string> expected;  // of the file: two-dimensional weights of the main model
    for (const auto& listing : checkpoint::list_tensors(test::golden(name))) {
      if (listing.role != "text" || listing.shape.size() != 2 || !listing.name.ends_with(".weight")) continue;
      const std::string canonical = checkpoint::canonical_name(listing.name).name;
      expected.insert(canonical.substr(0, canonical.size() - std::string(".weight").size()));
    }
    const auto weights = load(name);
    std::set<std::string> seen;
    for_each_matrix(*weights, [&](const MatrixPlace& place, const Matrix& matrix) {
      EXPECT_TRUE(seen.insert(place.module()).second) << place.module();
      EXPECT_EQ(checkpoint::canonical_name(matrix.name).name, place.module() + ".weight");
      const MatrixDims dims = matrix_dims(weights->config, place.role);
      EXPECT_EQ(matrix.rows, dims.rows);
      EXPECT_EQ(matrix.cols, dims.cols);
    });
    EXPECT_EQ(seen, expected) << name;
    EXPECT_EQ(seen.contains("lm_head"), !weights->config.tie_word_embeddings);
  }
}

TEST(ForEachMatrix, GoesInTheOrderOfAForwardPass) {
  const auto weights = load("grouped-mlx-4bit");
  std::vector<std::string> order;
  for_each_matrix(*weights, [&](const MatrixPlace& place, const Matrix&) { order.push_back(place.module()); });
  ASSERT_GT(order.size(), 9U);
  EXPECT_EQ(order.front(), "embed_tokens");
  EXPECT_EQ(order[1], "layers.0.linear_attn.in_proj_qkv");
  EXPECT_EQ(order[5], "layers.0.linear_attn.out_proj");
  EXPECT_EQ(order[8], "layers.0.mlp.down_proj");
  EXPECT_EQ(order[9], "layers.1.linear_attn.in_proj_qkv");
  EXPECT_EQ(order.back(), "lm_head");
}

TEST(ForEachMatrix, LetsThemBeChanged) {
  Weights weights = *load("tiny-hf");
  for_each_matrix(weights, [](const MatrixPlace&, Matrix& matrix) { matrix.name = "changed"; });
  EXPECT_EQ(weights.embed_tokens.name, "changed");
  EXPECT_EQ(weights.layers.back().mlp.down_proj.name, "changed");
  for_each_matrix(weights, [](const MatrixPlace&, const Matrix& matrix) { EXPECT_EQ(matrix.name, "changed"); });
}

TEST(ForEachMatrix, TheMtpHeadStandsApart) {
  Weights weights = *load("tiny-hf");
  int visited = 0;
  for_each_mtp_matrix(weights, [&](const MatrixPlace&, const Matrix&) { ++visited; });
  EXPECT_EQ(visited, weights.mtp ? 8 : 0);
  weights.mtp.emplace();
  weights.mtp->layers.emplace_back().attention.emplace();
  std::vector<std::string> order;
  for_each_mtp_matrix(weights, [&](const MatrixPlace& place, const Matrix&) { order.push_back(place.module()); });
  ASSERT_EQ(order.size(), 8U);
  EXPECT_EQ(order.front(), "mtp.fc");
  EXPECT_EQ(order[1], "mtp.layers.0.self_attn.q_proj");
  for_each_matrix(weights, [](const MatrixPlace& place, const Matrix&) { EXPECT_FALSE(place.mtp); });
}

// Session files name the model they belong to by this number: files of earlier versions must go on being read.
TEST(Fingerprint, StaysAsItWas) {
  const std::map<std::string, uint64_t> known = {
      {"tiny-hf", 0x3de6893c1c59f60fU},        {"tiny-mlx-4bit", 0xbed0304aea70770bU},
      {"tiny-mlx-mixed", 0x422fed953a5c36c2U}, {"grouped-mlx-4bit", 0x130eea0a715f45c4U},
      {"tiny-flat-5bit", 0xbe6d55c0d463c494U}, {"tiny-flat-8bit", 0xc2777c9e0b14feedU},
  };
  for (const auto& [name, number] : known) EXPECT_EQ(fingerprint(*load(name)), number) << name;
}

TEST(Fingerprint, ChangesWithAnyMatrix) {
  const auto weights = load("tiny-mlx-4bit");
  const uint64_t before = fingerprint(*weights);
  std::vector<std::string> unnoticed;
  for_each_matrix(*weights, [&](const MatrixPlace& place, const Matrix& matrix) {
    Weights other = *weights;
    std::vector<std::byte> data(matrix.data, matrix.data + matrix.rows * matrix.format.row_bytes(matrix.cols));
    data.front() ^= std::byte{1};
    Matrix& changed =
        place.layer < 0 ? other.embed_tokens : matrix_of(other.layers[static_cast<size_t>(place.layer)], place.role);
    changed.data = data.data();
    if (fingerprint(other) == before) unnoticed.push_back(place.module());
  });
  EXPECT_TRUE(unnoticed.empty()) << testing::PrintToString(unnoticed);
}

}  // namespace
}  // namespace prosa
