// Sizes that follow from a model's config and weights: bytes and multiply-adds of one token, memory of one
// conversation.
//
// Arithmetic only, no measuring; model/footprint.h divides what a backend really holds.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights.h"

namespace prosa::tools {

struct StepSizes {
  int64_t bits = 0;                // of the quantized matrices, else of the embedding's type
  int64_t step_bytes = 0;          // weight bytes that one token reads: all, of an untied embedding only one row
  int64_t layer_macs = 0;          // multiply-adds of one token in the layers' matrices
  int64_t head_macs = 0;           // and in the head
  int64_t state_bytes = 0;         // recurrent and conv state of a sequence
  int64_t kv_bytes_per_token = 0;  // of the cpu backend: integers, a float32 scale for each vector
};

StepSizes step_sizes(const Weights& weights, int kv_bits);

/// State and KV alone: what config.json tells.
StepSizes state_sizes(const ModelConfig& config, int kv_bits);

}  // namespace prosa::tools
