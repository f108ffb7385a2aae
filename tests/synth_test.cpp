// Synthetic checkpoints: whole files against golden ones, the full-size model against its checksums.
//
// The files in tests/data/golden were made by another program on another machine: equality is the point.
#include "checkpoint/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/mmap.h"
#include "checkpoint/checkpoint.h"
#include "prosa/error.h"
#include "temp_folder.h"

namespace prosa::checkpoint {
namespace {

namespace fs = std::filesystem;
const fs::path kGolden = fs::path(PROSA_TEST_DATA) / "golden";

bool same_bytes(const fs::path& a, const fs::path& b) {
  const MappedFile left = MappedFile::open(a);
  const MappedFile right = MappedFile::open(b);
  return std::ranges::equal(left.bytes(), right.bytes());
}

SynthOptions options(uint64_t seed, int bits = 0, int group = 64) {
  SynthOptions result;
  result.seed = seed;
  result.bits = bits;
  result.group_size = group;
  return result;
}

TEST(Synth, TinyEqualsTheGoldenRawFile) {
  const TempFolder folder;
  synthesize(synth_preset("tiny"), folder.path(), options(1));
  EXPECT_TRUE(same_bytes(folder.path() / "model.safetensors", kGolden / "tiny-hf/model.safetensors"));
}

TEST(Synth, QuantizedModelsEqualTheGoldenConversions) {
  const TempFolder tiny;
  synthesize(synth_preset("tiny"), tiny.path(), options(1, 4));
  EXPECT_TRUE(same_bytes(tiny.path() / "model.safetensors", kGolden / "tiny-mlx-4bit/model.safetensors"));
  const TempFolder grouped;
  synthesize(synth_preset("grouped"), grouped.path(), options(2, 4));
  EXPECT_TRUE(same_bytes(grouped.path() / "model.safetensors", kGolden / "grouped-mlx-4bit/model.safetensors"));
}

TEST(Synth, ConfigReadsBackAsItWentIn) {
  const TempFolder folder;
  ModelConfig config = synth_preset("grouped");
  config.eos_token_ids = {7, 9};
  synthesize(config, folder.path(), options(3, 8, 32));
  const ModelConfig read = read_config(folder.path());
  const ModelConfig golden = read_config(kGolden / "grouped-hf");
  for (const ModelConfig* other : std::initializer_list<const ModelConfig*>{&config, &golden}) {
    EXPECT_EQ(read.vocab_size, other->vocab_size);
    EXPECT_EQ(read.hidden_size, other->hidden_size);
    EXPECT_EQ(read.intermediate_size, other->intermediate_size);
    EXPECT_EQ(read.layer_types, other->layer_types);
    EXPECT_EQ(read.num_attention_heads, other->num_attention_heads);
    EXPECT_EQ(read.num_key_value_heads, other->num_key_value_heads);
    EXPECT_EQ(read.head_dim, other->head_dim);
    EXPECT_EQ(read.rotary_dim, other->rotary_dim);
    EXPECT_EQ(read.rope_theta, other->rope_theta);
    EXPECT_EQ(read.conv_dim(), other->conv_dim());
    EXPECT_EQ(read.rms_norm_eps, other->rms_norm_eps);
    EXPECT_EQ(read.tie_word_embeddings, other->tie_word_embeddings);
    EXPECT_EQ(read.max_position_embeddings, other->max_position_embeddings);
  }
  EXPECT_EQ(read.eos_token_ids, config.eos_token_ids);
  EXPECT_EQ(read.quantization, (QuantizationSpec{8, 32}));
  EXPECT_EQ(load_weights(folder.path())->lm_head.format.bits, 8);
}

TEST(Synth, EveryBitWidthAndGroupLoads) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      const TempFolder folder;
      synthesize(synth_preset("tiny"), folder.path(), options(1, bits, group));
      const auto weights = load_weights(folder.path());
      EXPECT_EQ(weights->embed_tokens.format.bits, bits);
      EXPECT_EQ(weights->embed_tokens.format.group_size, group);
      // 320 columns are no multiple of 128: that matrix stays bfloat16.
      EXPECT_EQ(weights->layers[0].mlp.down_proj.quantized(), group != 128);
      EXPECT_EQ(weights->parameter_count(), 941516);
    }
  }
}

TEST(Synth, ThreadCountChangesNoByte) {
  const TempFolder one;
  const TempFolder many;
  SynthOptions alone = options(5, 6);
  alone.threads = 1;
  SynthOptions crowd = options(5, 6);
  crowd.threads = 7;
  double last = 0;
  crowd.progress = [&](double fraction, std::string_view) { last = std::max(last, fraction); };
  synthesize(synth_preset("tiny"), one.path(), alone);
  synthesize(synth_preset("tiny"), many.path(), crowd);
  EXPECT_TRUE(same_bytes(one.path() / "model.safetensors", many.path() / "model.safetensors"));
  EXPECT_EQ(last, 1.0);
}

/// The full-size weights are generated here tensor by tensor; nothing of 1.5 GB is written.
TEST(Synth, FullSizeTensorsHaveTheGoldenChecksums) {
  std::ifstream file(kGolden / "qwen3.5-0.8b-synthetic/checksums.json");
  const nlohmann::json sums = nlohmann::json::parse(file);
  const ModelConfig config = synth_preset("0.8b");
  ASSERT_GE(sums.size(), 20U);
  for (const auto& [name, expected] : sums.items()) {
    int64_t rows = 0;
    int64_t cols = config.hidden_size;
    if (name.ends_with("embed_tokens.weight")) rows = config.vocab_size;
    if (name.ends_with("in_proj_qkv.weight")) rows = config.conv_dim();
    if (name.ends_with("in_proj_z.weight")) rows = config.value_dim();
    if (name.ends_with("in_proj_a.weight") || name.ends_with("in_proj_b.weight")) rows = config.linear_num_value_heads;
    if (name.ends_with("gate_proj.weight") || name.ends_with("up_proj.weight")) rows = config.intermediate_size;
    if (name.ends_with("q_proj.weight")) rows = 2 * config.query_dim();
    if (name.ends_with("k_proj.weight") || name.ends_with("v_proj.weight")) rows = config.kv_dim();
    if (name.ends_with("out_proj.weight")) rows = config.hidden_size, cols = config.value_dim();
    if (name.ends_with("o_proj.weight")) rows = config.hidden_size, cols = config.query_dim();
    if (name.ends_with("down_proj.weight")) rows = config.hidden_size, cols = config.intermediate_size;
    if (name.ends_with("conv1d.weight")) rows = config.conv_dim(), cols = config.linear_conv_kernel_dim;
    int64_t count = rows * cols;
    if (rows == 0) {
      cols = 0;
      count = config.hidden_size;  // norms of a layer
      if (name.ends_with("A_log") || name.ends_with("dt_bias")) count = config.linear_num_value_heads;
      if (name.ends_with("linear_attn.norm.weight")) count = config.linear_value_head_dim;
      if (name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight")) count = config.head_dim;
    }
    std::vector<uint16_t> weights(static_cast<size_t>(count));
    synth_weights(1, name, cols, 0, weights);
    double sum = 0;
    for (const uint16_t weight : weights) sum += bf16_to_float(weight);
    EXPECT_EQ(bf16_to_float(weights.front()), expected[0].get<double>()) << name;
    EXPECT_EQ(bf16_to_float(weights.back()), expected[1].get<double>()) << name;
    EXPECT_NEAR(sum, expected[2].get<double>(), 1e-6) << name;
  }
}

TEST(Synth, RefusesWhatItCantMake) {
  const TempFolder folder;
  EXPECT_THROW(synth_preset("qwen9"), Error);
  EXPECT_THROW(synthesize(synth_preset("tiny"), folder.path(), options(1, 7)), Error);
  EXPECT_THROW(synthesize(synth_preset("tiny"), folder.path(), options(1, 4, 48)), Error);
  synthesize(synth_preset("tiny"), folder.path(), options(1));
  try {
    synthesize(synth_preset("tiny"), folder.path(), options(2));
    FAIL() << "overwrote a model";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
  EXPECT_TRUE(same_bytes(folder.path() / "model.safetensors", kGolden / "tiny-hf/model.safetensors"));
}

}  // namespace
}  // namespace prosa::checkpoint
