// ModelConfig -> config.json, in the two forms that are written.
#include "checkpoint/config_json.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace prosa::checkpoint {

namespace {

using nlohmann::ordered_json;

ordered_json layer_types_json(const ModelConfig& config) {
  ordered_json types = ordered_json::array();
  for (const LayerType type : config.layer_types) {
    types.push_back(type == LayerType::full_attention ? "full_attention" : "linear_attention");
  }
  return types;
}

double rotary_factor(const ModelConfig& config) {
  return static_cast<double>(config.rotary_dim) / static_cast<double>(config.head_dim);
}

/// The float32 number with the fewest digits that reads back the same: 1e-06, not 9.999999974752427e-07.
double epsilon(const ModelConfig& config) {
  std::array<char, 32> text;
  const char* end = std::to_chars(text.data(), text.data() + text.size(), config.rms_norm_eps).ptr;
  double value = 0;
  std::from_chars(text.data(), end, value);
  return value;
}

}  // namespace

int64_t full_attention_interval(const ModelConfig& config) {
  const auto first = std::ranges::find(config.layer_types, LayerType::full_attention);
  if (first == config.layer_types.end()) return 0;
  const int64_t interval = first - config.layer_types.begin() + 1;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const bool full = config.layer_types[static_cast<size_t>(i)] == LayerType::full_attention;
    if (full != ((i + 1) % interval == 0)) return 0;
  }
  return interval;
}

ordered_json text_config_json(const ModelConfig& config) {
  return {
      {"model_type", "qwen3_5_text"},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_layers},
      {"layer_types", layer_types_json(config)},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
      {"linear_num_key_heads", config.linear_num_key_heads},
      {"linear_num_value_heads", config.linear_num_value_heads},
      {"linear_key_head_dim", config.linear_key_head_dim},
      {"linear_value_head_dim", config.linear_value_head_dim},
      {"linear_conv_kernel_dim", config.linear_conv_kernel_dim},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"rms_norm_eps", epsilon(config)},
      {"max_position_embeddings", config.max_position_embeddings},
      {"rope_parameters",
       {{"rope_type", "default"}, {"rope_theta", config.rope_theta}, {"partial_rotary_factor", rotary_factor(config)}}},
      {"tie_word_embeddings", config.tie_word_embeddings}};
}

ordered_json flat_config_json(const ModelConfig& config) {
  ordered_json flat{{"hidden_size", config.hidden_size},
                    {"num_hidden_layers", config.num_layers},
                    {"num_attention_heads", config.num_attention_heads},
                    {"num_key_value_heads", config.num_key_value_heads},
                    {"head_dim", config.head_dim},
                    {"intermediate_size", config.intermediate_size},
                    {"vocab_size", config.vocab_size},
                    {"rms_norm_eps", epsilon(config)},
                    {"layer_types", layer_types_json(config)},
                    {"linear_num_key_heads", config.linear_num_key_heads},
                    {"linear_key_head_dim", config.linear_key_head_dim},
                    {"linear_num_value_heads", config.linear_num_value_heads},
                    {"linear_value_head_dim", config.linear_value_head_dim},
                    {"linear_conv_kernel_dim", config.linear_conv_kernel_dim},
                    {"tie_word_embeddings", config.tie_word_embeddings},
                    {"model_type", "qwen3_5_text"},
                    {"rope_theta", config.rope_theta},
                    {"partial_rotary_factor", rotary_factor(config)},
                    {"max_seq_len", config.max_position_embeddings}};
  if (config.eos_token_ids.size() == 1) flat["eos_token_id"] = config.eos_token_ids.front();
  if (config.eos_token_ids.size() > 1) flat["eos_token_id"] = config.eos_token_ids;
  if (const int64_t interval = full_attention_interval(config); interval != 0) {
    flat["full_attention_interval"] = interval;
  }
  return flat;
}

}  // namespace prosa::checkpoint
