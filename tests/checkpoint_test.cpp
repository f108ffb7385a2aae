// Model folders end to end: config dialects, names, conventions, quantization, and every way they can be wrong.
//
// Built from the golden folders, changed in one place each. Formats of single files are in safetensors_test.cpp.
#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "base/bf16.h"
#include "checkpoint/names.h"
#include "checkpoint_fixture.h"
#include "model/dequantize.h"

namespace prosa::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<float> row_of(const Matrix& matrix, int64_t row) {
  std::vector<float> values(static_cast<size_t>(matrix.cols));
  dequantize_row(matrix, row, values.data());
  return values;
}

ModelConfig config_from(const json& document, const json& generation = nullptr) {
  const TempFolder folder;
  write_bytes(folder.path() / "config.json", document.dump());
  if (!generation.is_null()) write_bytes(folder.path() / "generation_config.json", generation.dump());
  return read_config(folder.path());
}

json golden_config(const std::string& name) { return json::parse(read_bytes(golden(name) / "config.json")); }

// ---- config.json

TEST(ReadConfig, GivesTheSameForAllDialects) {
  const ModelConfig wrapper = read_config(golden("tiny-hf"));
  json bare = golden_config("tiny-hf")["text_config"];
  const ModelConfig text_only = config_from(bare);
  const ModelConfig flat = read_config(golden("tiny-flat-5bit"));
  for (const ModelConfig& config : {wrapper, text_only, flat}) {
    EXPECT_EQ(config.vocab_size, 512);
    EXPECT_EQ(config.hidden_size, 128);
    EXPECT_EQ(config.intermediate_size, 320);
    EXPECT_EQ(config.layer_types, (std::vector{LayerType::linear_attention, LayerType::linear_attention,
                                               LayerType::linear_attention, LayerType::full_attention}));
    EXPECT_EQ(config.num_attention_heads, 4);
    EXPECT_EQ(config.num_key_value_heads, 2);
    EXPECT_EQ(config.head_dim, 64);
    EXPECT_EQ(config.rotary_dim, 16);
    EXPECT_EQ(config.rope_theta, 1e7);
    EXPECT_EQ(config.conv_dim(), 384);
    EXPECT_EQ(config.linear_conv_kernel_dim, 4);
    EXPECT_TRUE(config.tie_word_embeddings);
  }
  EXPECT_EQ(wrapper.max_position_embeddings, 262144);
  EXPECT_EQ(flat.max_position_embeddings, 2048);
  EXPECT_EQ(flat.eos_token_ids, std::vector<int32_t>{1});
  EXPECT_FALSE(wrapper.quantized);
}

TEST(ReadConfig, MakesLayerTypesFromTheInterval) {
  json document = golden_config("tiny-flat-5bit");
  document.erase("layer_types");
  EXPECT_EQ(config_from(document).layer_types, read_config(golden("tiny-flat-5bit")).layer_types);
  document.erase("full_attention_interval");  // then every fourth, as transformers and mlx-lm have it
  EXPECT_EQ(config_from(document).layer_types, read_config(golden("tiny-flat-5bit")).layer_types);
}

TEST(ReadConfig, TakesTheOlderNamesOfLayerTypes) {
  json document = golden_config("tiny-flat-5bit");
  document["layer_types"] = {"mamba", "linear_attention", "mamba", "attention"};
  EXPECT_EQ(config_from(document).layer_types, read_config(golden("tiny-flat-5bit")).layer_types);
}

/// What transformers 5.24 makes of the same files.
TEST(ReadConfig, FindsTheRotaryEmbeddingWhereTransformersDoes) {
  const auto read = [](const std::function<void(json & root, json & text)>& change) {
    json document = golden_config("tiny-hf");
    change(document, document["text_config"]);
    return config_from(document);
  };
  const auto expect = [&](double theta, int64_t rotary, size_t warnings, const char* what,
                          const std::function<void(json & root, json & text)>& change) {
    const ModelConfig config = read(change);
    EXPECT_EQ(config.rope_theta, theta) << what;
    EXPECT_EQ(config.rotary_dim, rotary) << what;
    EXPECT_EQ(config.warnings.size(), warnings) << what;
  };
  expect(1e7, 16, 0, "as it is", [](json&, json&) {});
  expect(10000, 16, 1, "nowhere", [](json&, json& text) { text.erase("rope_parameters"); });
  expect(10000, 16, 1, "at the root", [](json& root, json& text) {
    text.erase("rope_parameters");
    root["rope_theta"] = 5e6;
  });
  expect(10000, 16, 1, "an object at the root", [](json& root, json& text) {
    root["rope_parameters"] = {{"rope_theta", 5e6}};
    text.erase("rope_parameters");
  });
  expect(5e6, 16, 0, "beside the parameters", [](json&, json& text) {
    text["rope_parameters"].erase("rope_theta");
    text["rope_theta"] = 5e6;
  });
  expect(1e7, 16, 0, "in both places", [](json&, json& text) { text["rope_theta"] = 5e6; });
  expect(5e6, 16, 0, "mrope by its old name", [](json&, json& text) {
    text["rope_scaling"] = {{"type", "mrope"}, {"mrope_section", {11, 11, 10}}};
    text["rope_theta"] = 5e6;
  });
  expect(1e7, 16, 0, "mrope", [](json&, json& text) { text["rope_parameters"]["rope_type"] = "mrope"; });
  expect(123, 32, 0, "by layer type", [](json&, json& text) {
    text["rope_parameters"] = {
        {"full_attention", {{"rope_type", "default"}, {"rope_theta", 123.0}, {"partial_rotary_factor", 0.5}}},
        {"linear_attention", nullptr}};
  });
  expect(1e7, 16, 1, "a share at the root", [](json& root, json& text) {
    text["rope_parameters"].erase("partial_rotary_factor");
    text.erase("partial_rotary_factor");
    root["partial_rotary_factor"] = 0.5;
  });
}

TEST(ReadConfig, TakesTheDefaultsOfTheOfficialClass) {
  json document = golden_config("tiny-hf");
  for (const char* key : {"head_dim", "num_attention_heads", "num_key_value_heads", "linear_num_key_heads",
                          "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"}) {
    document["text_config"].erase(key);
  }
  const ModelConfig config = config_from(document);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.num_attention_heads, 16);
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.linear_num_key_heads, 16);
  EXPECT_EQ(config.linear_num_value_heads, 32);
  EXPECT_EQ(config.linear_key_head_dim, 128);
  EXPECT_EQ(config.linear_value_head_dim, 128);
}

TEST(ReadConfig, TakesEndTokensFromGenerationConfigFirst) {
  const json document = golden_config("tiny-flat-5bit");
  EXPECT_EQ(config_from(document, json{{"eos_token_id", {5, 7}}}).eos_token_ids, (std::vector<int32_t>{5, 7}));
  EXPECT_EQ(config_from(document, json{{"eos_token_id", 9}}).eos_token_ids, std::vector<int32_t>{9});
  EXPECT_EQ(config_from(document, json::object()).eos_token_ids, std::vector<int32_t>{1});
  const ModelConfig beyond = config_from(document, json{{"eos_token_id", {5, 512}}});  // the model cannot say it
  EXPECT_EQ(beyond.eos_token_ids, std::vector<int32_t>{5});
  ASSERT_EQ(beyond.warnings.size(), 1U);
  EXPECT_NE(beyond.warnings[0].find("512"), std::string::npos) << beyond.warnings[0];
  expect_error(ErrorCode::bad_checkpoint, {"generation_config.json"}, [&] { config_from(document, json::array({1})); });
}

// ---- generation_config.json

SamplingConfig sampling_from(const json& document, std::vector<std::string>& warnings) {
  const TempFolder folder;
  write_bytes(folder.path() / "generation_config.json", document.dump());
  return read_sampling(folder.path(), warnings);
}

TEST(ReadSampling, TakesWhatTheAuthorsSay) {
  std::vector<std::string> warnings;
  const SamplingConfig all = sampling_from({{"do_sample", true},
                                            {"temperature", 0.7},
                                            {"top_k", 20},
                                            {"top_p", 1},
                                            {"min_p", 0.05},
                                            {"repetition_penalty", 1.0},
                                            {"presence_penalty", 1.5},
                                            {"num_beams", 4},
                                            {"eos_token_id", {1, 2}}},
                                           warnings);
  EXPECT_EQ(all.temperature, 0.7F);
  EXPECT_EQ(all.top_k, 20);
  EXPECT_EQ(all.top_p, 1.0F);
  EXPECT_EQ(all.min_p, 0.05F);
  EXPECT_EQ(all.repetition_penalty, 1.0F);
  EXPECT_EQ(all.presence_penalty, 1.5F);
  EXPECT_EQ(all.frequency_penalty, std::nullopt);
  // Greedy only by name: many files hold nothing but end tokens.
  EXPECT_EQ(sampling_from({{"do_sample", false}, {"temperature", 0.7}}, warnings).temperature, 0.0F);
  EXPECT_EQ(sampling_from({{"eos_token_id", 1}}, warnings).temperature, std::nullopt);
  EXPECT_EQ(sampling_from({{"do_sample", nullptr}, {"top_k", nullptr}}, warnings).top_k, std::nullopt);
  EXPECT_EQ(read_sampling(golden("tiny-hf"), warnings).temperature, std::nullopt);  // no such file
  EXPECT_TRUE(warnings.empty());
}

TEST(ReadSampling, LeavesOutWhatCannotBeMeant) {
  const std::vector<std::pair<const char*, json>> cases{{"temperature", -1},
                                                        {"temperature", 1e300},
                                                        {"temperature", "hot"},
                                                        {"top_k", -1},
                                                        {"top_k", 2.5},
                                                        {"top_k", 1e18},
                                                        {"top_p", 0},
                                                        {"top_p", 1.5},
                                                        {"min_p", 1},
                                                        {"min_p", json::array({1})},
                                                        {"repetition_penalty", 0},
                                                        {"presence_penalty", 1000}};
  for (const auto& [key, value] : cases) {
    std::vector<std::string> warnings;
    const SamplingConfig config = sampling_from({{key, value}, {"frequency_penalty", 0.5}}, warnings);
    EXPECT_FALSE(config.temperature || config.top_k || config.top_p || config.min_p || config.repetition_penalty ||
                 config.presence_penalty)
        << key << " " << value;
    EXPECT_EQ(config.frequency_penalty, 0.5F);
    ASSERT_EQ(warnings.size(), 1U) << key << " " << value;
    EXPECT_NE(warnings[0].find(std::string("generation_config.json: ") + key), std::string::npos) << warnings[0];
  }
  std::vector<std::string> warnings;
  expect_error(ErrorCode::bad_checkpoint, {"do_sample"}, [&] { sampling_from({{"do_sample", "no"}}, warnings); });
}

TEST(ReadConfig, UnderstandsEveryWayToStateQuantization) {
  const auto spec = [](const json& changes) {
    json document = golden_config("tiny-flat-5bit");
    for (const char* key : {"quantization", "quantization_bits", "quantization_group_size"}) document.erase(key);
    document.update(changes);
    const ModelConfig config = config_from(document);
    return config.quantized ? config.quantization : QuantizationSpec{};
  };
  EXPECT_EQ(spec(json::object()), QuantizationSpec{});
  EXPECT_EQ(spec({{"quantization_bits", 4}}), (QuantizationSpec{4, 64}));
  EXPECT_EQ(spec({{"quantization_bits", 6}, {"quantization_group_size", 128}}), (QuantizationSpec{6, 128}));
  EXPECT_EQ(spec({{"quantization", "int4"}}), (QuantizationSpec{4, 64}));
  EXPECT_EQ(spec({{"quantization", "8bit"}, {"quantization_group_size", 32}}), (QuantizationSpec{8, 32}));
  EXPECT_EQ(spec({{"quantization", "none"}}), QuantizationSpec{});
  EXPECT_EQ(spec({{"quantization", {{"bits", 3}, {"group_size", 32}}}}), (QuantizationSpec{3, 32}));
  EXPECT_EQ(spec({{"quantization_config", {{"bits", 2}, {"mode", "affine"}}}}), (QuantizationSpec{2, 64}));
}

TEST(ReadConfig, KeepsPerTensorEntries) {
  const json entries{{"bits", 4},
                     {"group_size", 64},
                     {"model.layers.0.mlp.up_proj", {{"bits", 8}, {"group_size", 32}}},
                     {"lm_head", false},
                     {"embed_tokens", true},
                     {"layers.1.mlp.up_proj", {{"group_size", 32}}},
                     // Of modules that are not read, an entry may say what it likes.
                     {"vision_tower.blocks.0.attn.qkv", {{"bits", 1}, {"mode", "unheard of"}}},
                     {"router", {{"group_size", 7}}}};
  json document = golden_config("tiny-hf");
  document["quantization"] = entries;
  const ModelConfig config = config_from(document);
  EXPECT_EQ(config.quantization_overrides.at("model.layers.0.mlp.up_proj"), (QuantizationSpec{8, 32}));
  EXPECT_EQ(config.quantization_overrides.at("lm_head"), QuantizationSpec{});
  EXPECT_EQ(config.quantization_overrides.at("embed_tokens"), config.quantization);
  EXPECT_EQ(config.quantization_overrides.at("layers.1.mlp.up_proj").bits, QuantizationSpec::kFromShapes);
  EXPECT_EQ(config.quantization_overrides.size(), 4U);
}

struct BadValue {
  const char* key;
  json value;
  ErrorCode code;
  const char* part;
};

TEST(ReadConfig, NamesFileKeyAndValueOfWhatIsWrong) {
  const std::vector<BadValue> cases{
      {"vocab_size", 0, ErrorCode::bad_checkpoint, "0"},
      {"vocab_size", nullptr, ErrorCode::bad_checkpoint, "missing"},
      {"hidden_size", -128, ErrorCode::bad_checkpoint, "-128"},
      {"hidden_size", 1e30, ErrorCode::bad_checkpoint, "integer"},
      {"hidden_size", 18446744073709551615ULL, ErrorCode::bad_checkpoint, "18446744073709551615"},
      {"intermediate_size", "320", ErrorCode::bad_checkpoint, "\"320\""},
      {"num_hidden_layers", 2000000000, ErrorCode::bad_checkpoint, "2000000000"},
      {"num_hidden_layers", 5, ErrorCode::bad_checkpoint, "layer_types"},
      {"layer_types", {"linear_attention", "x", "x", "x"}, ErrorCode::unsupported, "linear_attention"},
      {"num_key_value_heads", 3, ErrorCode::bad_checkpoint, "divisor"},
      {"head_dim", 12, ErrorCode::bad_checkpoint, "partial_rotary_factor"},
      {"partial_rotary_factor", 1.5, ErrorCode::bad_checkpoint, "1.5"},
      {"partial_rotary_factor", 0.0, ErrorCode::bad_checkpoint, "even"},
      {"rope_theta", 0, ErrorCode::bad_checkpoint, "0"},
      {"rope_scaling", {{"rope_type", "yarn"}}, ErrorCode::unsupported, "yarn"},
      {"rope_parameters", {{"type", "linear"}}, ErrorCode::unsupported, "linear"},
      {"rope_parameters", 7, ErrorCode::bad_checkpoint, "an object"},
      {"linear_num_value_heads", 3, ErrorCode::bad_checkpoint, "multiple"},
      {"linear_key_head_dim", 0, ErrorCode::bad_checkpoint, "0"},
      {"linear_conv_kernel_dim", 65, ErrorCode::bad_checkpoint, "65"},
      {"rms_norm_eps", -1, ErrorCode::bad_checkpoint, "-1"},
      {"tie_word_embeddings", "yes", ErrorCode::bad_checkpoint, "yes"},
      {"hidden_act", "gelu", ErrorCode::unsupported, "gelu"},
      {"attention_bias", true, ErrorCode::unsupported, "true"},
      {"attn_output_gate", false, ErrorCode::unsupported, "false"},
      {"num_experts", 64, ErrorCode::unsupported, "64"},
      {"model_type", "llama", ErrorCode::unsupported, "llama"},
      {"model_type", nullptr, ErrorCode::bad_checkpoint, "missing"},
      {"eos_token_id", -1, ErrorCode::bad_checkpoint, "-1"},
      {"quantization_bits", 7, ErrorCode::bad_checkpoint, "7"},
      {"quantization_bits", 4, ErrorCode::bad_checkpoint, "4"},
      {"quantization_group_size", 48, ErrorCode::unsupported, "48"},
      {"quantization", "gguf", ErrorCode::unsupported, "gguf"},
      {"quantization", "int7", ErrorCode::unsupported, "int7"},
      {"quantization", {{"bits", 5}, {"mode", "mxfp4"}}, ErrorCode::unsupported, "mxfp4"},
      {"quantization", {{"group_size", 64}}, ErrorCode::bad_checkpoint, "bits"},
      {"quantization", {{"bits", 5}, {"lm_head", {{"bits", 9}}}}, ErrorCode::unsupported, "lm_head"},
      {"quantization_config", {{"quant_method", "gptq"}, {"bits", 5}}, ErrorCode::unsupported, "gptq"},
  };
  for (const BadValue& item : cases) {
    SCOPED_TRACE(std::string(item.key) + " = " + item.value.dump());
    json document = golden_config("tiny-flat-5bit");
    document[item.key] = item.value;
    std::vector<std::string> parts{"config.json", item.part};
    if (std::string(item.key) != "num_hidden_layers" && std::string(item.key) != "head_dim") parts.push_back(item.key);
    if (std::string(item.key).starts_with("quantization")) parts.pop_back();
    expect_error(item.code, parts, [&] { config_from(document); });
  }
}

TEST(ReadConfig, RefusesWhatIsNoConfig) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found, {"no-such"}, [&] { read_config(folder.path() / "no-such"); });
  expect_error(ErrorCode::not_found, {"config.json"}, [&] { read_config(folder.path()); });
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{"), std::string("{\"a\": \xff}"),
                                  std::string(100000, '['), "{\"a\":" + std::string(100000, '[')}) {
    write_bytes(folder.path() / "config.json", text);
    expect_error(ErrorCode::bad_checkpoint, {"config.json"}, [&] { read_config(folder.path()); });
  }
}

TEST(ReadConfig, SaysWhatAFolderIsInstead) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found, {"no config.json, so it is no model folder"}, [&] { read_config(folder.path()); });
  write_bytes(folder.path() / "model.gguf", "GGUF");
  expect_error(ErrorCode::not_found, {"model.gguf", "llama.cpp"}, [&] { read_config(folder.path()); });
  fs::create_directory(folder.path() / "int4");
  write_bytes(folder.path() / "int4" / "config.json", "{}");
  expect_error(ErrorCode::not_found, {"name one of these", "/int4"}, [&] { read_config(folder.path()); });
}

constexpr const char* kLfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1746882752\n";

TEST(ReadConfig, CallsAGitLfsPointerByName) {
  const TempFolder folder;
  write_bytes(folder.path() / "config.json", golden_config("tiny-hf").dump());
  write_bytes(folder.path() / "model.safetensors", kLfsPointer);
  const auto expect = [&](const char* file) {
    expect_error(ErrorCode::not_found, {file, "Git LFS pointer", "git lfs pull"}, [&] { load_weights(folder.path()); });
  };
  expect("model.safetensors");
  write_bytes(folder.path() / "config.json", kLfsPointer);
  expect("config.json");
}

TEST(ReadConfig, SurvivesMutations) {
  const TempFolder folder;
  std::mt19937 random(5);
  int refused = 0;
  for (const char* name : {"tiny-mlx-mixed", "tiny-flat-5bit"}) {
    const std::string valid = golden_config(name).dump();
    write_bytes(folder.path() / "config.json", valid);
    std::fstream file(folder.path() / "config.json", std::ios::binary | std::ios::in | std::ios::out);
    for (int round = 0; round < 2000; ++round) {
      std::string text = valid;
      for (unsigned i = 0; i <= random() % 2; ++i) {
        const std::string alphabet = "{}[]\",:0123456789-.e";
        char& byte = text[random() % text.size()];
        byte = random() % 2 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
      }
      file.seekp(0).write(text.data(), static_cast<std::streamsize>(text.size())).flush();
      try {
        EXPECT_GT(read_config(folder.path()).hidden_size, 0);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

// ---- names

TEST(CanonicalName, KnowsEveryPrefix) {
  for (const char* prefix : {"model.language_model.", "language_model.model.", "model.", ""}) {
    const CanonicalName name = canonical_name(std::string(prefix) + "layers.0.mlp.up_proj.weight");
    EXPECT_EQ(name.role, TensorRole::text) << prefix;
    EXPECT_EQ(name.name, "layers.0.mlp.up_proj.weight") << prefix;
  }
  EXPECT_EQ(canonical_name("language_model.lm_head.weight").name, "lm_head.weight");
  EXPECT_EQ(canonical_name("language_model.mtp.fc.weight").name, "mtp.fc.weight");
  EXPECT_EQ(canonical_name("mtp.layers.0.input_layernorm.weight").role, TensorRole::mtp);
  for (const char* name : {"visual.blocks.0.x", "model.visual.patch_embed.weight", "vision_tower.x"}) {
    EXPECT_EQ(canonical_name(name).role, TensorRole::vision) << name;
  }
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "normal.weight", "something"}) {
    EXPECT_EQ(canonical_name(name).role, TensorRole::ignored) << name;
  }
}

// ---- weights

TEST(LoadWeights, CountsParametersAndBytesOnce) {
  const auto tiny = load_weights(golden("tiny-hf"));
  EXPECT_EQ(tiny->parameter_count(), 941516);
  EXPECT_EQ(tiny->byte_size(), 2 * 941516);
  EXPECT_EQ(tiny->lm_head.data, tiny->embed_tokens.data);
  const auto mixed = load_weights(golden("tiny-mlx-mixed"));
  EXPECT_EQ(mixed->parameter_count(), 941516);
  EXPECT_EQ(mixed->byte_size(), 680792);  // all of the data section
  const auto grouped = load_weights(golden("grouped-mlx-4bit"));
  EXPECT_EQ(grouped->byte_size(), 4712288);
  EXPECT_NE(grouped->lm_head.data, grouped->embed_tokens.data);
}

/// Two views of the same model: vectors equal up to bf16 of the added 1, matrices up to quantization.
void expect_same_model(const Weights& raw, const Weights& other, float matrix_bound) {
  const auto near = [](const std::vector<float>& a, const std::vector<float>& b, float bound, const char* what) {
    ASSERT_EQ(a.size(), b.size()) << what;
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound) << what << " " << i;
  };
  near(raw.norm, other.norm, 4e-3F, "norm");
  for (size_t i = 0; i < raw.layers.size(); ++i) {
    const LayerWeights& a = raw.layers[i];
    const LayerWeights& b = other.layers[i];
    near(a.input_norm, b.input_norm, 4e-3F, "input_norm");
    near(a.post_attention_norm, b.post_attention_norm, 4e-3F, "post_attention_norm");
    near(row_of(a.mlp.down_proj, 7), row_of(b.mlp.down_proj, 7), matrix_bound, "down_proj");
    ASSERT_EQ(a.delta.has_value(), b.delta.has_value());
    if (a.delta) {
      EXPECT_EQ(a.delta->conv1d, b.delta->conv1d);
      EXPECT_EQ(a.delta->a_log, b.delta->a_log);
      EXPECT_EQ(a.delta->dt_bias, b.delta->dt_bias);
      EXPECT_EQ(a.delta->norm, b.delta->norm);
      near(row_of(a.delta->in_proj_qkv, 9), row_of(b.delta->in_proj_qkv, 9), matrix_bound, "in_proj_qkv");
    } else {
      near(a.attention->q_norm, b.attention->q_norm, 4e-3F, "q_norm");
      near(a.attention->k_norm, b.attention->k_norm, 4e-3F, "k_norm");
      near(row_of(a.attention->q_proj, 3), row_of(b.attention->q_proj, 3), matrix_bound, "q_proj");
    }
  }
  near(row_of(raw.embed_tokens, 11), row_of(other.embed_tokens, 11), matrix_bound, "embed_tokens");
}

TEST(LoadWeights, RawAndConvertedFoldersAreTheSameModel) {
  const auto raw = load_weights(golden("tiny-hf"));
  EXPECT_EQ(raw->layers[0].delta->conv1d.size(), 384U * 4U);
  EXPECT_NEAR(raw->norm[0], 1.0F, 0.11F);
  expect_same_model(*raw, *load_weights(golden("tiny-mlx-4bit")), 0.03F);
  expect_same_model(*raw, *load_weights(golden("tiny-mlx-mixed")), 0.03F);
  expect_same_model(*raw, *load_weights(golden("tiny-flat-5bit")), 0.015F);
  expect_same_model(*raw, *load_weights(golden("tiny-flat-8bit")), 0.002F);
}

TEST(LoadWeights, FlatConvKeepsTheConventionOfTheNorms) {
  for (const char* name : {"tiny-hf", "tiny-flat-8bit"}) {
    EditableModel model(name);
    for (auto& tensor : model.tensors) {
      if (tensor.spec.name.ends_with("conv1d.weight")) tensor.spec.shape = {384, 4};
    }
    EXPECT_EQ(model.load()->norm, load_weights(golden(name))->norm) << name;
  }
}

TEST(LoadWeights, RefusesAMixOfConventions) {
  EditableModel model("tiny-hf");
  model.tensor("layers.1.linear_attn.conv1d.weight").spec.shape = {384, 4, 1};
  expect_error(ErrorCode::bad_checkpoint, {"conv1d.weight", "mixed"}, [&] { model.load(); });
}

TEST(LoadWeights, TakesEveryPrefix) {
  const auto expected = load_weights(golden("tiny-hf"));
  for (const char* prefix : {"language_model.model.", "model.", ""}) {
    EditableModel model("tiny-hf");
    model.rename("model.language_model.", prefix);
    const auto weights = model.load();
    EXPECT_EQ(weights->norm, expected->norm) << prefix;
    EXPECT_EQ(row_of(weights->embed_tokens, 5), row_of(expected->embed_tokens, 5)) << prefix;
  }
}

TEST(LoadWeights, SkipsVisionAndUnknownTensorsAndLetsThemBeListed) {
  EditableModel model("tiny-hf");
  for (const char* name : {"model.visual.patch_embed.weight", "vision_tower.blocks.0.norm1.bias", "unheard.of",
                           "model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.4.mlp.up_proj.weight",
                           "model.layers.0.mlp.experts.weight"}) {
    model.tensors.push_back({{name, format::TensorType::i64, {1}}, std::string(8, '\1')});
  }
  const TempFolder folder;
  model.write(folder.path());
  EXPECT_EQ(load_weights(folder.path())->parameter_count(), 941516);
  std::map<std::string, std::string> roles;
  for (const TensorListing& listing : list_tensors(folder.path())) roles[listing.name] = listing.role;
  EXPECT_EQ(roles.at("model.visual.patch_embed.weight"), "vision");
  EXPECT_EQ(roles.at("vision_tower.blocks.0.norm1.bias"), "vision");
  for (const char* name : {"unheard.of", "model.layers.4.mlp.up_proj.weight", "model.layers.0.mlp.experts.weight"}) {
    EXPECT_EQ(roles.at(name), "ignored") << name;
  }
  EXPECT_EQ(roles.at("model.language_model.norm.weight"), "text");
}

TEST(ListTensors, StatesBitsOfPackedWeights) {
  for (const TensorListing& listing : list_tensors(golden("tiny-mlx-mixed"))) {
    const bool down = listing.name.ends_with("down_proj.weight");
    const bool embedding = listing.name.ends_with("embed_tokens.weight");
    const bool packed = listing.dtype == "U32";
    ASSERT_EQ(listing.format.has_value(), packed) << listing.name;
    if (!packed) continue;
    EXPECT_EQ(*listing.format, WeightFormat::affine(down        ? 8
                                                    : embedding ? 6
                                                                : 4,
                                                    down || embedding ? 64 : 32))
        << listing.name << ": " << listing.format->name();
    EXPECT_EQ(listing.file, "model.safetensors");
    EXPECT_GT(listing.bytes, 0);
  }
}

TEST(LoadWeights, ReadsF16AndF32Tensors) {
  const auto expected = load_weights(golden("tiny-hf"));
  for (const format::TensorType type : {format::TensorType::f16, format::TensorType::f32}) {
    EditableModel model("tiny-hf");
    for (auto& tensor : model.tensors) {
      std::string bytes;
      for (size_t i = 0; i < tensor.bytes.size(); i += 2) {
        uint16_t bits = 0;
        std::memcpy(&bits, &tensor.bytes[i], 2);
        const float value = bf16_to_float(bits);
        const uint16_t half = float_to_f16(value);
        if (type == format::TensorType::f32) bytes.append(reinterpret_cast<const char*>(&value), 4);
        if (type == format::TensorType::f16) bytes.append(reinterpret_cast<const char*>(&half), 2);
      }
      tensor.bytes = bytes;
      tensor.spec.type = type;
    }
    expect_same_model(*expected, *model.load(), 1e-6F);
    EXPECT_EQ(model.load()->embed_tokens.format.type, type == format::TensorType::f32 ? DType::f32 : DType::f16);
  }
}

struct Damage {
  const char* what;
  const char* folder;
  std::function<void(EditableModel&)> apply;
  ErrorCode code;
  std::vector<std::string> parts;
};

TEST(LoadWeights, NamesTheTensorThatIsWrong) {
  const auto reshape = [](const char* name, std::vector<int64_t> shape) {
    return [=](EditableModel& model) { model.tensor(name).spec.shape = shape; };
  };
  const auto poison = [](const char* name, float value) {
    return [=](EditableModel& model) {
      const uint16_t bits = float_to_bf16(value);
      std::memcpy(&model.tensor(name).bytes[6], &bits, 2);
    };
  };
  const auto erase = [](const char* name) { return [=](EditableModel& model) { model.erase(name); }; };
  const std::string qkv = "layers.0.linear_attn.in_proj_qkv.weight";
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<Damage> cases{
      {"transposed",
       "tiny-hf",
       reshape(qkv.c_str(), {128, 384}),
       ErrorCode::shape_mismatch,
       {qkv, "[384, 128]", "[128, 384]"}},
      {"vector", "tiny-hf", reshape(".norm.weight", {32, 2}), ErrorCode::shape_mismatch, {"[64]", "[32, 2]"}},
      {"conv", "tiny-hf", reshape("conv1d.weight", {4, 1, 384}), ErrorCode::shape_mismatch, {"[384, 1, 4]"}},
      {"nan",
       "tiny-hf",
       poison("layers.2.input_layernorm.weight", nan),
       ErrorCode::bad_checkpoint,
       {"layers.2.input_layernorm.weight", "value 3"}},
      {"infinity", "tiny-hf", poison("self_attn.q_norm.weight", infinity), ErrorCode::bad_checkpoint, {"q_norm"}},
      {"no layer", "tiny-hf", erase("layers.3.mlp.up_proj.weight"), ErrorCode::not_found, {"layers.3.mlp.up_proj"}},
      {"no head",
       "tiny-hf",
       [](EditableModel& model) {
         model.config["tie_word_embeddings"] = false;
         model.config["text_config"]["tie_word_embeddings"] = false;
       },
       ErrorCode::not_found,
       {"lm_head.weight", "tie_word_embeddings"}},
      {"other width",
       "tiny-hf",
       [](EditableModel& model) { model.config["text_config"]["hidden_size"] = 256; },
       ErrorCode::shape_mismatch,
       {"embed_tokens", "[512, 256]", "[512, 128]"}},
      {"integers",
       "tiny-hf",
       [](EditableModel& model) { model.tensor("norm.weight").spec.type = format::TensorType::i16; },
       ErrorCode::unsupported,
       {"I16"}},
      {"twice",
       "tiny-hf",
       [](EditableModel& model) {
         auto copy = model.tensor("language_model.norm.weight");
         copy.spec.name = "model.norm.weight";
         model.tensors.push_back(copy);
       },
       ErrorCode::bad_checkpoint,
       {"model.norm.weight", "same tensor"}},
      {"bits contradict",
       "tiny-flat-5bit",
       [](EditableModel& model) {
         model.config["quantization_bits"] = 4;
         model.config.erase("quantization");
       },
       ErrorCode::shape_mismatch,
       {"embed_tokens.weight", "[512, 16]", "[512, 20]", "4 bits"}},
      {"group contradicts",
       "tiny-flat-5bit",
       [](EditableModel& model) { model.config["quantization_group_size"] = 32; },
       ErrorCode::shape_mismatch,
       {"scales", "[512, 4]", "[512, 2]"}},
      {"override contradicts",
       "tiny-mlx-mixed",
       [](EditableModel& model) {
         model.config["quantization"]["language_model.model.layers.2.mlp.down_proj"]["bits"] = 6;
       },
       ErrorCode::shape_mismatch,
       {"layers.2.mlp.down_proj", "6 bits"}},
      {"declared dense",
       "tiny-mlx-4bit",
       [](EditableModel& model) { model.config["quantization"]["model.layers.0.mlp.up_proj"] = false; },
       ErrorCode::shape_mismatch,
       {"layers.0.mlp.up_proj", "not quantized"}},
      {"config says dense",
       "tiny-mlx-4bit",
       [](EditableModel& model) {
         model.config.erase("quantization");
         model.config.erase("quantization_config");
       },
       ErrorCode::shape_mismatch,
       {"not quantized"}},
      {"no scales", "tiny-mlx-4bit", erase("layers.0.mlp.up_proj.scales"), ErrorCode::not_found, {"up_proj.scales"}},
      {"no biases", "tiny-mlx-4bit", erase("layers.0.mlp.up_proj.biases"), ErrorCode::not_found, {"up_proj.biases"}},
      {"group wider than row",
       "tiny-mlx-4bit",
       [](EditableModel& model) { model.config["quantization"]["group_size"] = 128; },
       ErrorCode::shape_mismatch,
       {"128"}},
      {"scales of words",
       "tiny-mlx-4bit",
       [](EditableModel& model) { model.tensor("up_proj.scales").spec.type = format::TensorType::u16; },
       ErrorCode::unsupported,
       {"U16"}},
  };
  for (const Damage& item : cases) {
    SCOPED_TRACE(item.what);
    EditableModel model(item.folder);
    item.apply(model);
    expect_error(item.code, item.parts, [&] { model.load(); });
  }
}

TEST(LoadWeights, TakesATensorWithoutScalesAsDense) {
  EditableModel model("tiny-mlx-4bit");
  const EditableModel raw("tiny-hf");
  for (const char* part : {"weight", "scales", "biases"}) model.erase(std::string("layers.1.mlp.gate_proj.") + part);
  for (const auto& tensor : raw.tensors) {
    if (!tensor.spec.name.ends_with("layers.1.mlp.gate_proj.weight")) continue;
    model.tensors.push_back(
        {{"language_model.model.layers.1.mlp.gate_proj.weight", tensor.spec.type, tensor.spec.shape}, tensor.bytes});
  }
  const auto weights = model.load();
  EXPECT_FALSE(weights->layers[1].mlp.gate_proj.quantized());
  EXPECT_EQ(weights->layers[0].mlp.gate_proj.format.bits, 4);
}

TEST(LoadWeights, TakesBitsFromTheShapesWhereAnEntryHasNone) {
  EditableModel model("tiny-mlx-mixed");
  json& entry = model.config["quantization"]["language_model.model.layers.2.mlp.down_proj"];
  EXPECT_EQ(entry["bits"], 8);
  entry.erase("bits");
  entry.erase("group_size");
  const TempFolder folder;
  model.write(folder.path());
  EXPECT_EQ(load_weights(folder.path())->layers[2].mlp.down_proj.format, WeightFormat::affine(8, 64));
  for (const TensorListing& listing : list_tensors(folder.path())) {
    if (!listing.name.ends_with("layers.2.mlp.down_proj.weight")) continue;
    EXPECT_EQ(listing.format, WeightFormat::affine(8, 64));
  }
}

// ---- one matrix or two: the embedding and the head

/// tiny-hf with a flag in each place (null: none) and with or without a head of its own.
class Tying : public testing::Test {
 protected:
  enum class Head { none, equal, other };
  static std::shared_ptr<const Weights> load(const json& root, const json& text, Head head) {
    EditableModel model("tiny-hf");
    const auto set = [](json& object, const json& flag) {
      object.erase("tie_word_embeddings");
      if (!flag.is_null()) object["tie_word_embeddings"] = flag;
    };
    set(model.config, root);
    set(model.config["text_config"], text);
    if (head != Head::none) {
      auto tensor = model.tensor("embed_tokens.weight");
      tensor.spec.name = "lm_head.weight";
      if (head == Head::other) tensor.bytes[1] = static_cast<char>(tensor.bytes[1] ^ 0x80);  // a sign
      model.tensors.push_back(tensor);
    }
    return model.load();
  }
  static void expect(bool tied, size_t warnings, const json& root, const json& text, Head head) {
    SCOPED_TRACE("root " + root.dump() + ", text_config " + text.dump());
    const auto weights = load(root, text, head);
    EXPECT_EQ(weights->tied_head(), tied);
    EXPECT_EQ(weights->config.tie_word_embeddings, tied);
    EXPECT_EQ(weights->config.warnings.size(), warnings);
    if (warnings > 0) {
      EXPECT_NE(weights->config.warnings[0].find("tie_word_embeddings"), std::string::npos);
    }
  }
};

TEST_F(Tying, AStoredHeadThatDiffersIsUsedWhateverTheFlagsSay) {
  expect(false, 1, true, true, Head::other);
  expect(false, 1, true, false, Head::other);
  expect(false, 1, false, true, Head::other);
  expect(false, 1, nullptr, true, Head::other);
  expect(false, 0, false, false, Head::other);
  expect(false, 0, nullptr, nullptr, Head::other);
}

TEST_F(Tying, AnEqualHeadIsTheEmbeddingWhereSomebodySaysSo) {
  expect(true, 0, true, true, Head::equal);
  expect(true, 0, false, true, Head::equal);
  expect(false, 0, false, false, Head::equal);
  EXPECT_EQ(load(false, false, Head::equal)->parameter_count(), 941516 + 512 * 128);
}

TEST_F(Tying, AMissingHeadIsTiedWhereTheFileSaysSo) {
  expect(true, 0, true, true, Head::none);
  expect(true, 0, true, nullptr, Head::none);
  expect(true, 1, true, false, Head::none);  // the root's flag comes first
  expect(true, 0, nullptr, true, Head::none);
  expect(true, 1, false, true, Head::none);
  for (const json& root : {json(nullptr), json(false)}) {
    expect_error(ErrorCode::not_found, {"lm_head.weight", "tie_word_embeddings"},
                 [&] { load(root, false, Head::none); });
  }
}

TEST_F(Tying, AMissingEmbeddingIsTheHead) {
  EditableModel model("tiny-hf");
  model.tensor("embed_tokens.weight").spec.name = "lm_head.weight";
  EXPECT_TRUE(model.load()->tied_head());
  EXPECT_EQ(model.load()->parameter_count(), 941516);
}

// ---- the MTP head

TEST(LoadWeights, KeepsTheMtpHeadAside) {
  for (const char* trunk : {"tiny-hf", "tiny-mlx-4bit"}) {  // the sidecar is raw, whatever the trunk is
    const TempFolder folder;
    for (const char* name : {"config.json", "model.safetensors"}) fs::copy(golden(trunk) / name, folder.path() / name);
    EXPECT_FALSE(load_weights(folder.path())->mtp.has_value());
    fs::copy(golden("tiny-mtp") / "mtp.safetensors", folder.path() / "mtp.safetensors");
    const auto weights = load_weights(folder.path());
    ASSERT_TRUE(weights->mtp.has_value()) << trunk;
    EXPECT_EQ(weights->config.mtp_num_layers, 1);
    EXPECT_EQ(weights->mtp->fc.cols, 256);
    EXPECT_NEAR(weights->mtp->norm[0], 1.0F, 0.5F);
    EXPECT_NEAR(weights->mtp->layers.at(0).attention->q_norm[0], 1.0F, 0.5F);
    EXPECT_EQ(weights->parameter_count(), 941516);
    EXPECT_EQ(weights->byte_size(), load_weights(golden(trunk))->byte_size());
  }
}

/// The MTP tensors in the trunk's own file follow its convention, even when their values look like the other one.
TEST(LoadWeights, MtpInTheTrunksFileFollowsItsConvention) {
  const auto mtp = format::SafetensorsFile::open(golden("tiny-mtp") / "mtp.safetensors");
  for (const char* trunk : {"tiny-hf", "tiny-mlx-4bit"}) {
    EditableModel model(trunk);
    for (const format::TensorEntry& entry : mtp.entries()) {
      const auto data = mtp.data(entry);
      model.tensors.push_back({{entry.name, entry.type, entry.shape},
                               std::string(reinterpret_cast<const char*>(data.data()), data.size())});
    }
    const auto weights = model.load();
    ASSERT_TRUE(weights->mtp.has_value());
    EXPECT_NEAR(weights->mtp->norm[0], std::string(trunk) == "tiny-hf" ? 1.0F : 0.0F, 0.5F);
    model.erase("mtp.layers.0.mlp.up_proj.weight");
    EXPECT_FALSE(model.load()->mtp.has_value());  // incomplete: left alone
    EXPECT_EQ(model.load()->config.mtp_num_layers, 0);
  }
}

// ---- shards

class Shards : public testing::Test {
 protected:
  void SetUp() override {
    write_bytes(folder_.path() / "config.json", model_.config.dump());
    const size_t half = model_.tensors.size() / 2;
    model_.write_file(folder_.path() / "model-1.safetensors", 0, half);
    model_.write_file(folder_.path() / "model-2.safetensors", half, model_.tensors.size());
    for (size_t i = 0; i < model_.tensors.size(); ++i) {
      index_["weight_map"][model_.tensors[i].spec.name] = i < half ? "model-1.safetensors" : "model-2.safetensors";
    }
    write_index();
  }
  void write_index() { write_bytes(folder_.path() / "model.safetensors.index.json", index_.dump()); }
  void expect(ErrorCode code, const std::vector<std::string>& parts) {
    expect_error(code, parts, [&] { load_weights(folder_.path()); });
  }

  EditableModel model_{"tiny-hf"};
  TempFolder folder_;
  json index_;
};

TEST_F(Shards, LoadAsOneModel) {
  const auto weights = load_weights(folder_.path());
  EXPECT_EQ(weights->byte_size(), 2 * 941516);
  expect_same_model(*load_weights(golden("tiny-hf")), *weights, 0.0F);
}

TEST_F(Shards, NamesAMissingShard) {
  fs::remove(folder_.path() / "model-2.safetensors");
  expect(ErrorCode::not_found, {"model-2.safetensors", folder_.path().string()});
}

TEST_F(Shards, StayInTheFolder) {
  for (const char* name : {"../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "a\\b"}) {
    index_["weight_map"]["model.language_model.norm.weight"] = name;
    write_index();
    const auto weights = load_weights(folder_.path());  // of what lies there, and of nothing else
    ASSERT_EQ(weights->config.warnings.size(), 1U);
    EXPECT_NE(weights->config.warnings[0].find("of no use"), std::string::npos) << weights->config.warnings[0];
    for (const TensorListing& listing : list_tensors(folder_.path())) EXPECT_TRUE(listing.file.starts_with("model-"));
  }
}

TEST_F(Shards, CountMoreThanTheIndex) {
  index_["weight_map"]["not.there"] = "model-1.safetensors";
  index_["weight_map"]["nor.this"] = "model-2.safetensors";
  write_index();
  auto weights = load_weights(folder_.path());
  expect_same_model(*load_weights(golden("tiny-hf")), *weights, 0.0F);
  ASSERT_EQ(weights->config.warnings.size(), 1U);
  for (const char* part : {"index.json", "and 1 more tensors", "as they are"}) {
    EXPECT_NE(weights->config.warnings[0].find(part), std::string::npos) << weights->config.warnings[0];
  }
  index_ = json{{"metadata", {{"total_size", 1}}}};  // of no use
  write_index();
  weights = load_weights(folder_.path());
  EXPECT_EQ(weights->parameter_count(), 941516);
  EXPECT_EQ(weights->config.warnings.size(), 1U);
  fs::remove(folder_.path() / "model-2.safetensors");
  expect(ErrorCode::not_found, {"is missing"});
}

/// The index of the source of a conversion, which names files of other names and number.
TEST_F(Shards, OfAnotherNumberThanTheIndexNames) {
  for (const int shard : {1, 2}) {
    const std::string from = "model-" + std::to_string(shard) + ".safetensors";
    fs::rename(folder_.path() / from,
               folder_.path() / ("model-0000" + std::to_string(shard) + "-of-00002.safetensors"));
  }
  for (auto& [tensor, shard] : index_["weight_map"].items()) {
    shard = "model-0000" + std::string(1, shard.get<std::string>()[6]) + "-of-00004.safetensors";
  }
  write_index();
  const auto weights = load_weights(folder_.path());
  EXPECT_EQ(weights->parameter_count(), 941516);
  ASSERT_EQ(weights->config.warnings.size(), 1U);
  EXPECT_NE(weights->config.warnings[0].find("-of-00004"), std::string::npos) << weights->config.warnings[0];
  fs::remove(folder_.path() / "model.safetensors.index.json");
  EXPECT_EQ(load_weights(folder_.path())->config.warnings.size(), 0U);  // their names say enough
  fs::remove(folder_.path() / "model-00001-of-00002.safetensors");
  expect(ErrorCode::not_found, {"model-00001-of-00002.safetensors"});
}

TEST_F(Shards, BesideAWholeFileAreNotRead) {
  model_.write_file(folder_.path() / "model.safetensors", 0, model_.tensors.size());
  const auto weights = load_weights(folder_.path());
  EXPECT_EQ(weights->parameter_count(), 941516);
  ASSERT_EQ(weights->config.warnings.size(), 1U);
  EXPECT_NE(weights->config.warnings[0].find("so model.safetensors is read"), std::string::npos);
}

TEST_F(Shards, ATensorInTwoShardsIsRefused) {
  model_.write_file(folder_.path() / "model-2.safetensors", 0, model_.tensors.size());
  expect(ErrorCode::bad_checkpoint, {"model-1.safetensors", "model-2.safetensors", "same tensor"});
}

TEST_F(Shards, WithoutAnIndexAreReadWhereTheirNamesSaySo) {
  fs::remove(folder_.path() / "model.safetensors.index.json");
  EXPECT_EQ(load_weights(folder_.path())->parameter_count(), 941516);  // model*.safetensors, as mlx-lm reads them
  fs::rename(folder_.path() / "model-1.safetensors", folder_.path() / "a.safetensors");
  fs::rename(folder_.path() / "model-2.safetensors", folder_.path() / "b.safetensors");
  expect(ErrorCode::bad_checkpoint, {"2 safetensors files", "index"});
  fs::remove(folder_.path() / "a.safetensors");
  fs::remove(folder_.path() / "b.safetensors");
  expect(ErrorCode::not_found, {"no weights", "no safetensors file"});
  write_bytes(folder_.path() / "model-Q4_K_M.gguf", "GGUF");
  expect(ErrorCode::unsupported, {"model-Q4_K_M.gguf", "llama.cpp"});
  model_.write_file(folder_.path() / "other-name.safetensors", 0, model_.tensors.size());
  EXPECT_EQ(load_weights(folder_.path())->parameter_count(), 941516);
}

/// Bytes of a whole small folder's header changed: it loads or throws prosa::Error, and what loads can be read.
TEST(LoadWeights, SurvivesMutatedFiles) {
  const TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy(golden("tiny-flat-5bit") / name, folder.path() / name);
  }
  fs::permissions(folder.path() / "model.safetensors", fs::perms::owner_all);
  std::fstream file(folder.path() / "model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
  std::string header(12480, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  std::mt19937 random(7);
  int loaded = 0;
  for (int round = 0; round < 1500; ++round) {
    const size_t at = random() % header.size();
    const std::string digits = "0123456789";
    char byte = random() % 4 == 0 ? static_cast<char>(random()) : digits[random() % digits.size()];
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
    try {
      const auto weights = load_weights(folder.path());
      for (const int64_t row : {int64_t{0}, weights->embed_tokens.rows - 1}) row_of(weights->embed_tokens, row);
      for (const LayerWeights& layer : weights->layers) {
        row_of(layer.mlp.down_proj, layer.mlp.down_proj.rows - 1);
      }
      ++loaded;
    } catch (const Error&) {
    }
    file.seekp(static_cast<std::streamoff>(at)).put(header[at]).flush();
  }
  EXPECT_LT(loaded, 750);
  EXPECT_EQ(load_weights(folder.path())->parameter_count(), 941516);  // restored
}

}  // namespace
}  // namespace prosa::checkpoint
