// Sizes that follow from a model's config and weights.
#include "tools/sizes.h"

#include <algorithm>
#include <limits>

#include "model/for_each_matrix.h"
#include "runtime/footprint.h"

namespace prosa::tools {

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
  sizes.bits = weights.config.quantized ? weights.config.quantization.bits : weights.embed_tokens.format.bits;
  sizes.step_bytes = weights.byte_size();
  if (!weights.tied_head()) {
    sizes.step_bytes -= weights.embed_tokens.byte_size() - weights.embed_tokens.byte_size() / weights.embed_tokens.rows;
  }
  const auto macs = [](const Matrix& matrix) { return matrix.rows * matrix.cols; };
  for_each_matrix(weights, [&](const MatrixPlace& place, const Matrix& matrix) {
    if (place.layer >= 0) sizes.layer_macs += macs(matrix);
  });
  sizes.head_macs = macs(weights.lm_head);
  return sizes;
}

}  // namespace prosa::tools
