// How the bytes of one backend state divide into KV cache and recurrent state.
//
// A backend reports one number; the recurrent part follows from the config, the rest is KV.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/config.h"
#include "prosa/model.h"

namespace prosa {

/// Fills kv and state only.
inline MemoryFootprint state_footprint(const ModelConfig& config, int64_t state_bytes) {
  const auto delta_layers = static_cast<int64_t>(
      std::count(config.layer_types.begin(), config.layer_types.end(), LayerType::linear_attention));
  const int64_t matrix = config.linear_num_value_heads * config.linear_key_head_dim * config.linear_value_head_dim;
  const int64_t window = config.conv_dim() * (config.linear_conv_kernel_dim - 1);
  const int64_t recurrent = delta_layers * (matrix + window) * static_cast<int64_t>(sizeof(float));
  MemoryFootprint footprint;
  footprint.state = std::min(recurrent, state_bytes);
  footprint.kv = state_bytes - footprint.state;
  return footprint;
}

}  // namespace prosa
