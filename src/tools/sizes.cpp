// Sizes that follow from a model's config and weights.
#include "tools/sizes.h"

#include <algorithm>
#include <limits>

#include "runtime/footprint.h"

namespace prosa::tools {
namespace {

int64_t macs(const Matrix& matrix) { return matrix.rows * matrix.cols; }

int64_t macs(const LayerWeights& layer) {
  int64_t count = macs(layer.mlp.gate_proj) + macs(layer.mlp.up_proj) + macs(layer.mlp.down_proj);
  if (layer.delta) {
    const DeltaNetWeights& delta = *layer.delta;
    count += macs(delta.in_proj_qkv) + macs(delta.in_proj_z) + macs(delta.in_proj_b) + macs(delta.in_proj_a) +
             macs(delta.out_proj);
  }
  if (layer.attention) {
    const AttentionWeights& attention = *layer.attention;
    count += macs(attention.q_proj) + macs(attention.k_proj) + macs(attention.v_proj) + macs(attention.o_proj);
  }
  return count;
}

}  // namespace

StepSizes state_sizes(const ModelConfig& config, int kv_bits) {
  StepSizes sizes;
  sizes.state_bytes = state_footprint(config, std::numeric_limits<int64_t>::max()).state;
  const auto attention_layers = static_cast<int64_t>(std::ranges::count(config.layer_types, LayerType::full_attention));
  const int64_t vector_bytes = kv_bits / 8 * config.head_dim + 4;
  sizes.kv_bytes_per_token = attention_layers * 2 * config.num_key_value_heads * vector_bytes;
  return sizes;
}

StepSizes step_sizes(const Weights& weights, int kv_bits) {
  StepSizes sizes = state_sizes(weights.config, kv_bits);
  sizes.bits = weights.config.quantized ? weights.config.quantization.bits
                                        : 8 * static_cast<int64_t>(dtype_size(weights.embed_tokens.dtype));
  sizes.step_bytes = weights.byte_size();
  if (weights.lm_head.data != weights.embed_tokens.data) {
    sizes.step_bytes -= weights.embed_tokens.byte_size() - weights.embed_tokens.byte_size() / weights.embed_tokens.rows;
  }
  for (const LayerWeights& layer : weights.layers) sizes.layer_macs += macs(layer);
  sizes.head_macs = macs(weights.lm_head);
  return sizes;
}

}  // namespace prosa::tools
