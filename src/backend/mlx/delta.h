// The gated delta rule over many tokens as matrix products (the WY form of arXiv:2412.06464), for devices where MLX has
// no kernel of its own and goes token by token.
#pragma once

#include <utility>

#include <mlx/array.h>

namespace prosa::backend::mlx {

/// q, k [heads, n, dk]; v [heads, n, dv]; log_decay, beta [heads, n]; state [heads, dv, dk]
/// -> outputs [heads, n, dv] and the state after them. Pieces of kDeltaPiece tokens from the beginning.
[[nodiscard]] std::pair<::mlx::core::array, ::mlx::core::array> delta_rule(
    const ::mlx::core::array& q, const ::mlx::core::array& k, const ::mlx::core::array& v,
    const ::mlx::core::array& log_decay, const ::mlx::core::array& beta, const ::mlx::core::array& state);

inline constexpr int kDeltaPiece = 64;

}  // namespace prosa::backend::mlx
