// The layers of the model over the tokens of one state, as a graph of MLX operations in float32.
//
// Knows arrays, not segments. Invariant: what comes out depends on the tokens of the call, the arrays of the state and
// its position only, so that a row beside others is the row alone.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "backend/mlx/model.h"
#include "base/cancel.h"
#include "model/config.h"

namespace prosa::backend::mlx {

/// What one layer remembers. Arrays never change, so copies of them share memory; the one exception is MLX's own: an
/// array that nobody else holds is overwritten where it lies.
struct MlxLayerState {
  std::optional<mx::array> keys;    // [1, num_key_value_heads, blocks of kKvBlock, head_dim]; valid up to the position
  std::optional<mx::array> values;  // the same
  std::optional<mx::array> conv;    // [kernel - 1, conv_dim], the last inputs, oldest first
  std::optional<mx::array> recurrent;  // [1, num_value_heads, value_head_dim, key_head_dim]
};

/// Tokens by which the cache of keys and values grows.
inline constexpr int64_t kKvBlock = 256;

/// Before the first token.
[[nodiscard]] std::vector<MlxLayerState> empty_layers(const ModelConfig& config);

/// All layers over the tokens at `position`: [n, hidden] before the final norm, not yet computed where n is 1; nothing
/// when it was cancelled. Several tokens are computed layer by layer, with a look at the cancel before each.
[[nodiscard]] std::optional<mx::array> forward(const ModelConfig& config, const MlxModel& model,
                                               std::vector<MlxLayerState>& layers, int64_t position,
                                               std::span<const int32_t> tokens, const Cancel& cancel);

/// x [n, hidden] -> logits [n, vocab]
[[nodiscard]] mx::array head(const ModelConfig& config, const MlxModel& model, const mx::array& x);

/// Computes `last` and everything that the layers hold.
void settle(const std::vector<MlxLayerState>& layers, std::optional<mx::array> last = std::nullopt);

}  // namespace prosa::backend::mlx
