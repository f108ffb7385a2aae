// The dimensions of a Qwen3.5 dense model, as read from config.json in any of its dialects.
//
// Plain data: no file access, no tensor. Invariant after checkpoint::read_config(): every number is positive and
// bounded, heads divide as the formulas need, layer_types has num_layers entries.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/weight_format.h"

namespace prosa {

enum class LayerType { linear_attention, full_attention };  // Gated DeltaNet, gated attention

/// How one tensor (or all without an entry of their own) is quantized.
struct QuantizationSpec {
  static constexpr int kFromShapes = -1;
  int bits = 0;        // 2, 3, 4, 5, 6, 8; kFromShapes: bits and group are what the shapes of the tensors say
  int group_size = 0;  // columns that share a scale: 32, 64, 128; nvfp4: 16
  WeightCoding coding = WeightCoding::affine;

  /// `scales`: the type of an affine matrix's scales.
  [[nodiscard]] WeightFormat format(DType scales) const noexcept {
    if (coding == WeightCoding::affine) return WeightFormat::affine(bits, group_size, scales);
    return WeightFormat::small_floats(coding);
  }
  friend bool operator==(const QuantizationSpec&, const QuantizationSpec&) = default;
};

struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  std::vector<LayerType> layer_types;  // [num_layers]

  // Gated attention (GQA): num_attention_heads query heads share num_key_value_heads key/value heads.
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;  // head_dim * partial_rotary_factor; the first rotary_dim dims of a head turn
  double rope_theta = 0;

  // Gated DeltaNet: value heads are a multiple of key heads; key head h serves the value heads of its group.
  int64_t linear_num_key_heads = 0;
  int64_t linear_num_value_heads = 0;
  int64_t linear_key_head_dim = 0;
  int64_t linear_value_head_dim = 0;
  int64_t linear_conv_kernel_dim = 0;

  float rms_norm_eps = 0;
  bool tie_word_embeddings = false;  // the embedding is the head, too; of loaded weights: what was found to be so
  /// What config.json says about that, in its two places. Flat files have the first one only.
  struct Tying {
    std::optional<bool> root;
    std::optional<bool> text;  // in text_config
  } tying;
  int64_t max_position_embeddings = 0;
  int64_t mtp_num_layers = 0;          // 0: the checkpoint has no multi-token-prediction head
  std::vector<int32_t> eos_token_ids;  // from generation_config.json, else config.json; may be empty

  bool quantized = false;
  QuantizationSpec quantization;                                   // the default; valid when `quantized`
  std::map<std::string, QuantizationSpec> quantization_overrides;  // by module path as written in config.json
                                                                   // (bits 0: that module is not quantized)

  /// What in the model's files is odd or contradicts itself, and what was made of it: whole sentences that name the
  /// place, for people. Says nothing about the model itself.
  std::vector<std::string> warnings;

  [[nodiscard]] int64_t key_dim() const { return linear_num_key_heads * linear_key_head_dim; }
  [[nodiscard]] int64_t value_dim() const { return linear_num_value_heads * linear_value_head_dim; }
  [[nodiscard]] int64_t conv_dim() const { return 2 * key_dim() + value_dim(); }
  [[nodiscard]] int64_t query_dim() const { return num_attention_heads * head_dim; }
  [[nodiscard]] int64_t kv_dim() const { return num_key_value_heads * head_dim; }
};

}  // namespace prosa
