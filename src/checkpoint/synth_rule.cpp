// The synthetic rule itself and the presets' dimensions. Writes nothing (synth.cpp).
#include <array>
#include <bit>
#include <cmath>

#include "base/bf16.h"
#include "checkpoint/synth.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

constexpr uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

constexpr uint64_t splitmix_finalize(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

struct Range {
  float center;
  float amp;
};

Range range_of(std::string_view name, int64_t cols) {
  if (name.ends_with("A_log")) return {0.0F, 1.5F};
  if (name.ends_with("dt_bias")) return {-2.0F, 2.0F};
  if (name.ends_with("linear_attn.norm.weight")) return {1.0F, 0.1F};
  if (name.ends_with("conv1d.weight")) return {0.0F, 0.75F};
  if (name.ends_with("embed_tokens.weight") || name == "lm_head.weight") return {0.0F, 0.0866F};
  if (cols == 0) return {0.0F, 0.1F};
  return {0.0F, static_cast<float>(std::sqrt(3.0 / static_cast<double>(cols)))};
}

struct Preset {
  std::string_view name;
  int64_t hidden, intermediate, layers, vocab;
  int64_t heads, kv_heads, head_dim;
  int64_t key_heads, value_heads, linear_head_dim;
  bool tied;
};
// tiny and grouped: the golden folders. The others: the dimensions of the released models, as well as known.
constexpr std::array<Preset, 5> kPresets{{
    {"tiny", 128, 320, 4, 512, 4, 2, 64, 2, 2, 64, true},
    {"grouped", 256, 448, 8, 1024, 8, 2, 128, 2, 4, 128, false},
    {"qwen3.5-0.8b", 1024, 3584, 24, 248320, 8, 2, 256, 16, 16, 128, true},
    {"qwen3.5-2b", 2048, 6144, 24, 248320, 8, 2, 256, 16, 16, 128, true},
    {"qwen3.5-4b", 2560, 9216, 32, 248320, 16, 4, 256, 16, 32, 128, true},
}};

}  // namespace

void synth_weights(uint64_t seed, std::string_view raw_name, int64_t cols, uint64_t first,
                   std::span<uint16_t> weights) {
  const uint64_t stream = fnv1a64(raw_name) ^ (seed * kGolden);
  const Range range = range_of(raw_name, cols);
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint64_t z = splitmix_finalize(stream + (first + i + 1) * kGolden);
    const float u = 2.0F * (static_cast<float>(static_cast<int32_t>(z >> 40)) * 0x1p-24F) - 1.0F;
    weights[i] = float_to_bf16(range.center + range.amp * u);
  }
}

std::vector<std::string_view> synth_preset_names() {
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

ModelConfig synth_preset(std::string_view name) {
  constexpr std::string_view kFamily = "qwen3.5-";
  for (const Preset& preset : kPresets) {
    const bool short_form = preset.name.starts_with(kFamily) && preset.name.substr(kFamily.size()) == name;
    if (preset.name != name && !short_form) continue;
    ModelConfig config;
    config.vocab_size = preset.vocab;
    config.hidden_size = preset.hidden;
    config.intermediate_size = preset.intermediate;
    config.num_layers = preset.layers;
    for (int64_t i = 0; i < preset.layers; ++i) {
      config.layer_types.push_back(i % 4 == 3 ? LayerType::full_attention : LayerType::linear_attention);
    }
    config.num_attention_heads = preset.heads;
    config.num_key_value_heads = preset.kv_heads;
    config.head_dim = preset.head_dim;
    config.rotary_dim = preset.head_dim / 4;
    config.rope_theta = 1e7;
    config.linear_num_key_heads = preset.key_heads;
    config.linear_num_value_heads = preset.value_heads;
    config.linear_key_head_dim = preset.linear_head_dim;
    config.linear_value_head_dim = preset.linear_head_dim;
    config.linear_conv_kernel_dim = 4;
    config.rms_norm_eps = 1e-6F;
    config.tie_word_embeddings = preset.tied;
    config.max_position_embeddings = 262144;
    return config;
  }
  std::string known;
  for (const Preset& preset : kPresets) known += (known.empty() ? "" : ", ") + std::string(preset.name);
  throw Error(ErrorCode::invalid_argument, "no preset '" + std::string(name) + "'", "synth", "known: " + known);
}

}  // namespace prosa::checkpoint
