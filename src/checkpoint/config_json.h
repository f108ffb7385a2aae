// The dimensions of a model as config.json states them: the way back of config.cpp.
//
// Writes what a ModelConfig holds and nothing else; keys of a source's config that mean nothing here are the caller's.
#pragma once

#include <nlohmann/json.hpp>

#include "model/config.h"

namespace prosa::checkpoint {

/// The object `text_config` of the wrapped form.
nlohmann::ordered_json text_config_json(const ModelConfig& config);

/// The flat form of small chat conversions, without quantization.
nlohmann::ordered_json flat_config_json(const ModelConfig& config);

/// Every how many layers one is full attention; 0 when the layers don't repeat so. mlx-lm knows no other pattern.
int64_t full_attention_interval(const ModelConfig& config);

}  // namespace prosa::checkpoint
