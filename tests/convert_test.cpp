// The converter: against folders that MLX made, and what each option does to the files.
//
// How bad input ends is convert_errors_test.cpp's. The golden quantized folders were made from tiny-hf by MLX, so
// converting tiny-hf must give every one of their tensors.
#include "checkpoint/convert.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "base/bf16.h"
#include "checkpoint/quantize.h"
#include "checkpoint/synth.h"
#include "convert_fixture.h"
#include "model/dequantize.h"

namespace prosa::checkpoint {
namespace {

namespace fs = std::filesystem;

struct GoldenCase {
  const char* folder;
  int bits;
  int group;
  Layout layout;
  std::vector<std::string> overrides;
};

/// The golden folders follow the rule of GPUs.
class GoldenRules : public RulePlan {
 public:
  using RulePlan::RulePlan;
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override {
    MatrixPlan plan = RulePlan::matrix(name, rows, cols);
    plan.quantizer = std::make_shared<Reciprocal>();
    return plan;
  }

 private:
  struct Reciprocal : RowQuantizer {
    void quantize(std::span<float> rows, int64_t /*first_row*/, int64_t cols, const WeightFormat& format,
                  std::span<uint32_t> words, std::span<uint16_t> scales, std::span<uint16_t> biases) const override {
      // Groups don't know of rows: a whole block is one long row.
      EXPECT_EQ(static_cast<int64_t>(rows.size()) % cols, 0);
      quantize_row(rows, format, words, scales, biases, ScaleRule::reciprocal);
    }
  };
};

GoldenRules golden_rules(int bits, int group, const std::vector<std::string>& overrides = {}) {
  std::vector<FormatOverride> parsed;
  for (const std::string& text : overrides) parsed.push_back(FormatOverride::parse(text, group));
  return {bits, group, std::move(parsed)};
}

class GoldenConversion : public testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenConversion, WritesTheTensorsThatMlxWrote) {
  const GoldenCase& param = GetParam();
  const TempFolder out;
  ConvertOptions options;
  options.layout = param.layout;
  const auto report =
      convert(golden("tiny-hf"), out.path() / "made", golden_rules(param.bits, param.group, param.overrides), options);
  const auto made = stored_tensors(report.folder);
  const auto expected = stored_tensors(golden(param.folder));
  ASSERT_EQ(made.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    const auto found = made.find(name);
    ASSERT_NE(found, made.end()) << name;
    EXPECT_TRUE(found->second == tensor) << name;
  }
  EXPECT_EQ(read_config(report.folder).quantization, read_config(golden(param.folder)).quantization);
}

INSTANTIATE_TEST_SUITE_P(
    Folders, GoldenConversion,
    testing::Values(GoldenCase{"tiny-mlx-4bit", 4, 64, Layout::mlx, {}},
                    GoldenCase{"tiny-mlx-mixed", 4, 32, Layout::mlx, {"embed_tokens=6:64", "mlp.down_proj=8:64"}},
                    GoldenCase{"tiny-flat-5bit", 5, 64, Layout::flat, {}},
                    GoldenCase{"tiny-flat-8bit", 8, 64, Layout::flat, {}}),
    [](const auto& param_info) {
      std::string name = param_info.param.folder;
      std::erase(name, '-');
      return name;
    });

/// Every format: what a loader reads back is what the quantizer says of the source's rows, and the report tells the
/// same error.
class EveryFormat : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(EveryFormat, ReadsBackAsTheQuantizerSays) {
  const auto [bits, group] = GetParam();
  const TempFolder out;
  const auto report = convert(golden("tiny-hf"), out.path() / "made", rules(bits, group), {});
  const auto source = load_weights(golden("tiny-hf"));
  const auto made = load_weights(out.path() / "made");
  const Matrix& before = source->layers[1].mlp.gate_proj;
  const Matrix& after = made->layers[1].mlp.gate_proj;
  const WeightFormat format = WeightFormat::affine(bits, group);
  ASSERT_EQ(after.format, format);
  const auto cols = static_cast<size_t>(before.cols);
  std::vector<float> row(cols);
  std::vector<float> back(cols);
  std::vector<uint32_t> words(cols * static_cast<size_t>(bits) / 32);
  std::vector<uint16_t> scales(cols / static_cast<size_t>(group));
  std::vector<uint16_t> biases(scales.size());
  Matrix one;
  one.rows = 1;
  one.cols = before.cols;
  one.format = format;
  one.data = reinterpret_cast<const std::byte*>(words.data());
  one.scales = reinterpret_cast<const std::byte*>(scales.data());
  one.biases = reinterpret_cast<const std::byte*>(biases.data());
  double squares = 0;
  double apart = 0;
  for (int64_t r = 0; r < before.rows; ++r) {
    dequantize_row(before, r, row.data());
    quantize_row(row, format, words, scales, biases, ScaleRule::divided);
    std::vector<float> expected(cols);
    dequantize_row(one, 0, expected.data());
    dequantize_row(after, r, back.data());
    ASSERT_EQ(back, expected) << "row " << r;
    for (size_t c = 0; c < cols; ++c) {
      squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
      apart += std::pow(static_cast<double>(row[c] - back[c]), 2);
    }
  }
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.name != "language_model.model.layers.1.mlp.gate_proj") continue;
    ASSERT_TRUE(tensor.relative_error.has_value());
    EXPECT_NEAR(*tensor.relative_error, std::sqrt(apart / squares), 1e-5);
    EXPECT_EQ(tensor.bytes, after.byte_size());
    EXPECT_EQ(tensor.kind, "mlp");
  }
  std::vector<float> norm = source->layers[0].input_norm;
  for (float& value : norm) value = bf16_to_float(float_to_bf16(value));
  EXPECT_EQ(made->layers[0].input_norm, norm);
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat,
                         testing::Combine(testing::Values(2, 3, 4, 5, 6, 8), testing::Values(32, 64)));

TEST(Convert, SixteenBitsAreTheSourceInMlxForm) {
  const TempFolder out;
  convert(golden("tiny-hf"), out.path() / "made", rules(16, 64), {});
  const auto source = stored_tensors(golden("tiny-hf"));
  const auto made = stored_tensors(out.path() / "made");
  const auto& matrix = made.at("language_model.model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(matrix, source.at("model.language_model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE(json_of(out.path() / "made/config.json").contains("quantization"));
  // And from there to 4 bit is the same as straight to 4 bit.
  convert(out.path() / "made", out.path() / "twice", golden_rules(4, 64), {});
  EXPECT_EQ(stored_tensors(out.path() / "twice"), stored_tensors(golden("tiny-mlx-4bit")));
}

TEST(Convert, FloatSourcesGoThroughBfloat16) {
  EditableModel model("tiny-hf");
  for (auto& tensor : model.tensors) {  // the same values, stored wider
    std::string wide;
    for (size_t i = 0; i < tensor.bytes.size(); i += 2) {
      uint16_t half = 0;
      std::memcpy(&half, tensor.bytes.data() + i, 2);
      const float value = bf16_to_float(half) * (1.0F + 0x1p-12F);  // rounds back to the same bfloat16
      wide.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    tensor.bytes = wide;
    tensor.spec.type = format::TensorType::f32;
  }
  const TempFolder out;
  fs::create_directory(out.path() / "wide");
  model.write(out.path() / "wide");
  convert(out.path() / "wide", out.path() / "made", golden_rules(4, 64), {});
  auto made = stored_tensors(out.path() / "made");
  const auto expected = stored_tensors(golden("tiny-mlx-4bit"));
  const std::string name = "language_model.model.layers.0.mlp.up_proj.weight";
  EXPECT_EQ(made.at(name), expected.at(name));
  EXPECT_EQ(made.at("language_model.model.layers.0.linear_attn.A_log").dtype, "F32");  // keeps its precision
  EXPECT_EQ(made.at("language_model.model.layers.0.linear_attn.dt_bias").dtype, "BF16");
}

TEST(Convert, BytesDependOnNothingButTheInput) {
  const TempFolder out;
  ConvertOptions options;
  options.threads = 1;
  convert(golden("tiny-hf"), out.path() / "one", rules(3, 32), options);
  options.threads = 7;
  convert(golden("tiny-hf"), out.path() / "seven", rules(3, 32), options);
  EXPECT_EQ(snapshot(out.path() / "one"), snapshot(out.path() / "seven"));
}

TEST(Convert, RequantizesFromDequantizedValues) {
  const TempFolder out;
  convert(golden("tiny-flat-8bit"), out.path() / "made", rules(4, 32), {});
  const auto source = load_weights(golden("tiny-flat-8bit"));
  const auto made = load_weights(out.path() / "made");
  const Matrix& before = source->layers[0].mlp.up_proj;
  std::vector<float> row(static_cast<size_t>(before.cols));
  dequantize_row(before, 3, row.data());
  std::vector<uint32_t> words(row.size() * 4 / 32);
  std::vector<uint16_t> scales(row.size() / 32);
  std::vector<uint16_t> biases(scales.size());
  quantize_row(row, WeightFormat::affine(4, 32), words, scales, biases, ScaleRule::divided);
  const Matrix& after = made->layers[0].mlp.up_proj;
  EXPECT_EQ(std::memcmp(after.data + 3 * words.size() * 4, words.data(), words.size() * 4), 0);
  EXPECT_EQ(made->config.rope_theta, source->config.rope_theta);
  EXPECT_EQ(json_of(out.path() / "made/config.json")["text_config"]["rope_parameters"]["rope_theta"], 1e7);
}

TEST(Convert, ToTheSameFormatKeepsTheBytes) {  // a group's extremes are steps of its scale
  const TempFolder out;
  const auto report = convert(golden("tiny-mlx-4bit"), out.path() / "made", rules(16, 64), {});
  const auto source = load_weights(golden("tiny-mlx-4bit"));
  const auto made = load_weights(out.path() / "made");
  EXPECT_EQ(made->norm, source->norm);
  EXPECT_FALSE(made->embed_tokens.quantized());
  for (const TensorReport& tensor : report.tensors) EXPECT_LE(tensor.relative_error.value_or(1), 0.004) << tensor.name;
}

TEST(Convert, ShardsHoldEveryTensorOnceAndTheIndexFindsThem) {
  const TempFolder out;
  ConvertOptions options;
  options.shard_bytes = 100'000;
  convert(golden("tiny-hf"), out.path() / "made", golden_rules(4, 64), options);
  EXPECT_EQ(stored_tensors(out.path() / "made"), stored_tensors(golden("tiny-mlx-4bit")));
  const auto index = json_of(out.path() / "made/model.safetensors.index.json");
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    shards.insert(shard.get<std::string>());
    if (name.ends_with(".scales")) {
      const std::string module = name.substr(0, name.size() - 7);
      EXPECT_EQ(index["weight_map"][module + ".weight"], shard);
    }
  }
  EXPECT_GT(shards.size(), 3U);
  EXPECT_EQ(*shards.begin(), "model-00001-of-0000" + std::to_string(shards.size()) + ".safetensors");
  EXPECT_FALSE(fs::exists(out.path() / "made/model.safetensors"));
  int64_t bytes = 0;
  for (const auto& [name, tensor] : stored_tensors(out.path() / "made"))
    bytes += static_cast<int64_t>(tensor.bytes.size());
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
}

TEST(Convert, OverridesStandInTheConfigByModule) {
  const TempFolder out;
  convert(golden("tiny-hf"), out.path() / "made",
          rules(4, 64, {"*proj=4", "/layers\\.[02]\\.mlp/=8:32", "in_proj_a=16"}), {});
  const auto quantization = json_of(out.path() / "made/config.json")["quantization"];
  EXPECT_EQ(quantization["bits"], 4);
  EXPECT_EQ(quantization["language_model.model.layers.2.mlp.up_proj"]["bits"], 8);
  EXPECT_EQ(quantization["language_model.model.layers.2.mlp.up_proj"]["group_size"], 32);
  EXPECT_EQ(quantization["language_model.model.layers.0.linear_attn.in_proj_a"], false);
  EXPECT_FALSE(quantization.contains("language_model.model.layers.1.mlp.up_proj"));
  const auto made = load_weights(out.path() / "made");
  EXPECT_EQ(made->layers[2].mlp.up_proj.format.bits, 8);
  EXPECT_EQ(made->layers[1].mlp.up_proj.format.bits, 4);
  EXPECT_FALSE(made->layers[0].delta->in_proj_a.quantized());
}

/// tiny-hf with the MTP head beside it.
void write_with_mtp(const fs::path& folder) {
  fs::create_directory(folder);
  for (const char* name : {"config.json", "model.safetensors"}) fs::copy(golden("tiny-hf") / name, folder / name);
  fs::copy(golden("tiny-mtp") / "mtp.safetensors", folder / "mtp.safetensors");
}

TEST(Convert, KeepsTheMtpHeadOnWish) {
  const TempFolder out;
  write_with_mtp(out.path() / "source");
  ConvertOptions options;
  convert(out.path() / "source", out.path() / "without", rules(8, 64), options);
  EXPECT_FALSE(load_weights(out.path() / "without")->mtp.has_value());
  options.keep_mtp = true;
  convert(out.path() / "source", out.path() / "with", rules(8, 64), options);
  const auto source = load_weights(out.path() / "source");
  const auto made = load_weights(out.path() / "with");
  ASSERT_TRUE(made->mtp.has_value());
  EXPECT_EQ(made->mtp->fc.format.bits, 8);
  ASSERT_EQ(made->mtp->norm.size(), source->mtp->norm.size());
  for (size_t i = 0; i < made->mtp->norm.size(); ++i) {
    EXPECT_EQ(made->mtp->norm[i], bf16_to_float(float_to_bf16(source->mtp->norm[i])));
  }
  EXPECT_TRUE(stored_tensors(out.path() / "with").contains("language_model.mtp.fc.scales"));  // mlx-lm skips "mtp."
  const auto kinds = stored_tensors(out.path() / "without");
  EXPECT_FALSE(kinds.contains("language_model.mtp.fc.weight"));
}

TEST(Convert, FlatFoldersStandBesideEachOther) {
  const TempFolder out;
  ConvertOptions options;
  options.layout = Layout::flat;
  convert(golden("tiny-hf"), out.path() / "chat", rules(5, 64), options);
  convert(golden("tiny-hf"), out.path() / "chat", rules(8, 64, {"embed_tokens=6"}), options);
  const auto five = json_of(out.path() / "chat/int5/config.json");
  EXPECT_EQ(five["quantization"], "int5");
  EXPECT_EQ(five["quantization_bits"], 5);
  EXPECT_EQ(five["quantization_group_size"], 64);
  const auto expected = json_of(golden("tiny-flat-5bit") / "config.json");
  for (const auto& [key, value] : expected.items()) {
    if (key == "eos_token_id" || key == "pad_token_id" || key == "max_seq_len") continue;
    EXPECT_EQ(five[key], value) << key;
  }
  EXPECT_EQ(load_weights(out.path() / "chat/int8")->embed_tokens.format.bits, 6);
}

TEST(Convert, UntiedHeadsAreConverted) {
  const TempFolder out;
  convert(golden("grouped-mlx-4bit"), out.path() / "made", rules(8, 64), {});
  const auto made = load_weights(out.path() / "made");
  EXPECT_EQ(made->lm_head.format.bits, 8);
  EXPECT_EQ(made->lm_head.name, "language_model.lm_head.weight");
}

TEST(Convert, SaysWhatMlxLmCannotLoad) {
  const TempFolder out;
  EXPECT_TRUE(convert(golden("tiny-hf"), out.path() / "every-fourth", rules(4, 64), {}).warnings.empty());
  ModelConfig config = synth_preset("tiny");
  std::swap(config.layer_types[1], config.layer_types[3]);  // attention in the second layer of four
  SynthOptions options;
  options.threads = 1;
  synthesize(config, out.path() / "source", options);
  const auto report = convert(out.path() / "source", out.path() / "made", rules(4, 64), {});
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("mlx-lm cannot load"), std::string::npos);
  EXPECT_EQ(plan_conversion(out.path() / "source", rules(4, 64), {}).warnings, report.warnings);
  ConvertOptions flat;
  flat.layout = Layout::flat;  // mlx-lm reads no such folder anyway
  EXPECT_TRUE(convert(out.path() / "source", out.path() / "flat", rules(4, 64), flat).warnings.empty());
  EXPECT_EQ(load_weights(out.path() / "made")->config.layer_types, config.layer_types);
}

TEST(Convert, CopiesCompanionsThroughLinks) {
  const TempFolder out;
  fs::create_directories(out.path() / "blobs");
  fs::create_directories(out.path() / "snapshot");
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy(golden("tiny-hf") / name, out.path() / "blobs" / name);
    fs::create_symlink(out.path() / "blobs" / name, out.path() / "snapshot" / name);
  }
  write_bytes(out.path() / "blobs/tokenizer.json", "{\"t\":1}");
  fs::create_symlink("../blobs/tokenizer.json", out.path() / "snapshot/tokenizer.json");
  write_bytes(out.path() / "snapshot/chat_template.jinja", "{{ messages }}");
  write_bytes(out.path() / "snapshot/notes.bin", "not a part of a model");
  convert(out.path() / "snapshot", out.path() / "made", rules(4, 64), {});
  EXPECT_EQ(read_bytes(out.path() / "made/tokenizer.json"), "{\"t\":1}");
  EXPECT_FALSE(fs::is_symlink(out.path() / "made/tokenizer.json"));
  EXPECT_EQ(read_bytes(out.path() / "made/chat_template.jinja"), "{{ messages }}");
  EXPECT_FALSE(fs::exists(out.path() / "made/notes.bin"));
}

TEST(Convert, ThePlanSeesEveryTensorAndItsFoldsAreWritten) {
  class Folding : public RulePlan {
   public:
    Folding() : RulePlan(8, 64) {}
    void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
      weights += static_cast<int64_t>(values.size());
      EXPECT_EQ(static_cast<int64_t>(values.size()) % cols, 0);
      if (name.ends_with("norm.weight") || name.ends_with("layernorm.weight")) {
        EXPECT_EQ(first_row, 0);
        for (float& value : values) value *= 2.0F;
      }
    }
    mutable std::atomic<int64_t> weights = 0;
  };
  const TempFolder out;
  const Folding plan;
  convert(golden("tiny-hf"), out.path() / "made", plan, {});
  const auto source = load_weights(golden("tiny-hf"));
  const auto made = load_weights(out.path() / "made");
  EXPECT_EQ(plan.weights, source->parameter_count());
  for (size_t i = 0; i < source->norm.size(); ++i) {
    EXPECT_EQ(made->norm[i], bf16_to_float(float_to_bf16(2.0F * source->norm[i])));
  }
}

TEST(Convert, ThePlansQuantizerChoosesTheCodes) {
  struct Ones : RowQuantizer {
    void quantize(std::span<float> rows, int64_t /*first_row*/, int64_t cols, const WeightFormat& format,
                  std::span<uint32_t> words, std::span<uint16_t> scales, std::span<uint16_t> biases) const override {
      EXPECT_EQ(words.size(), rows.size() / 32 * static_cast<size_t>(format.bits));
      EXPECT_EQ(scales.size(), rows.size() / static_cast<size_t>(format.group_size));
      EXPECT_EQ(static_cast<int64_t>(rows.size()) % cols, 0);
      std::ranges::fill(words, 0U);
      std::ranges::fill(scales, float_to_bf16(0.0F));
      std::ranges::fill(biases, float_to_bf16(1.0F));
      std::ranges::fill(rows, std::nanf(""));  // they may be used up
    }
  };
  struct Plan : ConvertPlan {
    MatrixPlan matrix(const std::string& name, int64_t /*rows*/, int64_t /*cols*/) const override {
      return {WeightFormat::affine(4, 64), name.ends_with("up_proj.weight") ? std::make_shared<Ones>() : nullptr};
    }
  };
  const TempFolder out;
  ConvertOptions options;
  options.method = "ones";
  const auto report = convert(golden("tiny-hf"), out.path() / "made", Plan(), options);
  std::vector<float> row(static_cast<size_t>(read_config(golden("tiny-hf")).hidden_size));
  dequantize_row(load_weights(out.path() / "made")->layers[0].mlp.up_proj, 7, row.data());
  EXPECT_EQ(row, std::vector<float>(row.size(), 1.0F));
  const auto stored = read_quantization_report(out.path() / "made");
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(stored->method, "ones");
  ASSERT_EQ(stored->tensors.size(), report.tensors.size());
  for (size_t i = 0; i < report.tensors.size(); ++i) {
    EXPECT_EQ(stored->tensors[i].name, report.tensors[i].name);
    EXPECT_EQ(stored->tensors[i].relative_error, report.tensors[i].relative_error);
    EXPECT_TRUE(std::isfinite(*report.tensors[i].relative_error));
  }
}

TEST(Convert, PlanningTellsTheSizesThatAreWritten) {
  const TempFolder out;
  const auto plan = rules(3, 32, {"lm_head=8", "embed_tokens=6:64"});
  ConvertOptions options;
  const auto planned = plan_conversion(golden("grouped-mlx-4bit"), plan, options);
  const auto report = convert(golden("grouped-mlx-4bit"), out.path() / "made", plan, options);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : stored_tensors(out.path() / "made"))
    bytes += static_cast<int64_t>(tensor.bytes.size());
  EXPECT_EQ(planned.bytes(), bytes);
  EXPECT_EQ(report.bytes(), bytes);
  EXPECT_FALSE(planned.tensors[0].relative_error.has_value());
}

TEST(Convert, ProgressEndsAtTheWhole) {
  const TempFolder out;
  ConvertOptions options;
  int64_t last = 0;
  int64_t total = 0;
  options.progress = [&](const ConvertProgress& progress) {
    EXPECT_GT(progress.bytes_done, last);
    last = progress.bytes_done;
    total = progress.bytes_total;
  };
  convert(golden("tiny-hf"), out.path() / "made", rules(4, 64), options);
  EXPECT_EQ(last, total);
}

TEST(FormatOverride, MatchesEndsAtDotsOnly) {
  const std::string name = "language_model.model.layers.10.mlp.down_proj.weight";
  const auto matches = [&](const char* pattern) {
    return FormatOverride::parse(std::string(pattern) + "=8", 64).matches(name);
  };
  EXPECT_TRUE(matches("down_proj"));
  EXPECT_TRUE(matches("mlp.down_proj"));
  EXPECT_TRUE(matches("layers.1?.*"));
  EXPECT_TRUE(matches("language_model.*"));
  EXPECT_TRUE(matches("/layers\\.(10|11)\\.mlp/"));
  EXPECT_FALSE(matches("layers.1.*"));
  EXPECT_FALSE(matches("own_proj"));
  EXPECT_FALSE(matches("down_proj.weight"));
  EXPECT_FALSE(matches("mlp"));
}

}  // namespace
}  // namespace prosa::checkpoint
