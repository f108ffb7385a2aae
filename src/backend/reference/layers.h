// The layers of the model over n tokens at once, on top of formulas.h, with the state each layer carries along.
//
// Activations are row-major [n, width] float32. The rows are computed as if tokens came one by one: n tokens in one
// call, or in any cuts, give the same bits. Not here: embedding and head of the whole model (reference.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace prosa::backend::reference {

/// What one layer remembers. Attention layers use keys and values, DeltaNet layers conv and recurrent.
struct LayerState {
  AlignedBuffer<float> keys;     // [capacity, kv_dim], normalized and rotated; valid up to the state's position
  AlignedBuffer<float> values;   // [capacity, kv_dim]
  std::vector<float> conv;       // [kernel - 1, conv_dim], the last inputs of the convolution, oldest first
  std::vector<float> recurrent;  // [num_value_heads, key_head_dim, value_head_dim]
};

/// y = x W^T       x [n, cols], W [rows, cols] -> [n, rows]. Each row of W is dequantized once and meets all tokens.
std::vector<float> linear(const Matrix& w, std::span<const float> x, ThreadPool& pool);

/// rms_norm of every row.    x [n, d], weight [d] -> [n, d]
std::vector<float> rms_norm_rows(std::span<const float> x, std::span<const float> weight, float eps);

/// How a layer computes x W^T for its matrices: linear(), or somebody who wants to see the inputs.
using Product = std::function<std::vector<float>(const Matrix& w, std::span<const float> x)>;

/// The halves of a layer without their norms and the sum.      x, result [n, hidden]
std::vector<float> run_mixer(const ModelConfig& config, const LayerWeights& weights, LayerState& state,
                             int64_t position, std::span<const float> x, ThreadPool& pool, const Product& product);
std::vector<float> run_mlp(const MlpWeights& weights, std::span<const float> x, const Product& product);

/// One whole layer, in place: x <- x + mixer(norm(x)); x <- x + mlp(norm(x)).      x [n, hidden]
/// `position`: of x's first row; `state` holds what came before and is moved on by n tokens.
void run_layer(const ModelConfig& config, const LayerWeights& weights, LayerState& state, int64_t position,
               std::vector<float>& x, ThreadPool& pool);

/// The state of a layer before the first token, with room for `capacity`.
LayerState make_layer_state(const ModelConfig& config, LayerType type, int64_t capacity);

/// The rows of the embedding.    -> [n, hidden]
std::vector<float> embed(const Weights& weights, std::span<const int32_t> tokens);

}  // namespace prosa::backend::reference
