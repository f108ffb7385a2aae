// The matrices of a model, listed once: their roles, names, shapes, and a walk over all of them.
//
// Whoever counts, packs, converts or prints weights walks with these functions, so that a matrix is in every list or in
// none. Order: that of a forward pass, embedding first, head last. The small float vectors of a layer are listed beside
// them, because a converter has to write those too. Pure; holds no tensor.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "model/config.h"
#include "model/weights.h"

namespace prosa {

enum class MatrixRole {
  embed_tokens,
  in_proj_qkv,
  in_proj_z,
  in_proj_b,
  in_proj_a,
  out_proj,
  q_proj,
  k_proj,
  v_proj,
  o_proj,
  gate_proj,
  up_proj,
  down_proj,
  lm_head,
  mtp_fc,
};

enum class VectorRole { input_norm, conv1d, a_log, dt_bias, delta_norm, q_norm, k_norm, post_attention_norm };

/// The matrices of a layer's mixer and of its MLP. The last one of each reads what the others made; those read the
/// normed input.
std::span<const MatrixRole> mixer_matrices(LayerType type) noexcept;
std::span<const MatrixRole> mlp_matrices() noexcept;
/// The vectors of a mixer. Beside them a layer has input_norm before it and post_attention_norm after it.
std::span<const VectorRole> mixer_vectors(LayerType type) noexcept;

/// Below a layer's prefix, as in files: "linear_attn.in_proj_qkv", "mlp.down_proj"; of a matrix outside of the layers
/// its whole canonical module, "lm_head". A file adds ".weight".
std::string_view module_name(MatrixRole role) noexcept;
/// The same with all of the tensor's name: "linear_attn.conv1d.weight", "linear_attn.A_log".
std::string_view tensor_name(VectorRole role) noexcept;

struct MatrixDims {
  int64_t rows = 0;
  int64_t cols = 0;
};
MatrixDims matrix_dims(const ModelConfig& config, MatrixRole role) noexcept;

inline LayerType layer_type(const LayerWeights& layer) noexcept {
  return layer.delta ? LayerType::linear_attention : LayerType::full_attention;
}

/// Where a matrix stands.
struct MatrixPlace {
  MatrixRole role = MatrixRole::embed_tokens;
  int64_t layer = -1;  // -1: outside of the layers
  bool mtp = false;    // of the multi-token-prediction head

  /// "layers.3.mlp.down_proj", "mtp.layers.0.self_attn.q_proj", "embed_tokens".
  [[nodiscard]] std::string module() const;
  friend bool operator==(const MatrixPlace&, const MatrixPlace&) = default;
};

/// T, constant if Like is.
template <typename Like, typename T>
using LikeConst = std::conditional_t<std::is_const_v<Like>, const T, T>;

/// A matrix of a layer; the layer must be of the type that has it. `Layer` is LayerWeights or const LayerWeights.
template <typename Layer>
requires std::same_as<std::remove_const_t<Layer>, LayerWeights> LikeConst<Layer, Matrix>
&matrix_of(Layer& layer, MatrixRole role) {
  switch (role) {
    case MatrixRole::in_proj_qkv: return layer.delta.value().in_proj_qkv;
    case MatrixRole::in_proj_z: return layer.delta.value().in_proj_z;
    case MatrixRole::in_proj_b: return layer.delta.value().in_proj_b;
    case MatrixRole::in_proj_a: return layer.delta.value().in_proj_a;
    case MatrixRole::out_proj: return layer.delta.value().out_proj;
    case MatrixRole::q_proj: return layer.attention.value().q_proj;
    case MatrixRole::k_proj: return layer.attention.value().k_proj;
    case MatrixRole::v_proj: return layer.attention.value().v_proj;
    case MatrixRole::o_proj: return layer.attention.value().o_proj;
    case MatrixRole::gate_proj: return layer.mlp.gate_proj;
    case MatrixRole::up_proj: return layer.mlp.up_proj;
    case MatrixRole::down_proj: return layer.mlp.down_proj;
    case MatrixRole::embed_tokens:
    case MatrixRole::lm_head:
    case MatrixRole::mtp_fc: break;
  }
  PROSA_CHECK(!"a matrix outside of the layers");
}

template <typename Layer>
requires std::same_as<std::remove_const_t<Layer>, LayerWeights> LikeConst<Layer, std::vector<float>>
&vector_of(Layer& layer, VectorRole role) {
  switch (role) {
    case VectorRole::input_norm: return layer.input_norm;
    case VectorRole::conv1d: return layer.delta.value().conv1d;
    case VectorRole::a_log: return layer.delta.value().a_log;
    case VectorRole::dt_bias: return layer.delta.value().dt_bias;
    case VectorRole::delta_norm: return layer.delta.value().norm;
    case VectorRole::q_norm: return layer.attention.value().q_norm;
    case VectorRole::k_norm: return layer.attention.value().k_norm;
    case VectorRole::post_attention_norm: return layer.post_attention_norm;
  }
  PROSA_CHECK(!"a vector of a layer");
}

/// Calls visit(MatrixRole, Matrix&) for the matrices of one layer: the mixer's, then the MLP's.
template <typename Layer, typename Visit>
requires std::same_as<std::remove_const_t<Layer>, LayerWeights>
void for_each_layer_matrix(Layer& layer, Visit&& visit) {
  for (const MatrixRole role : mixer_matrices(layer_type(layer))) visit(role, matrix_of(layer, role));
  for (const MatrixRole role : mlp_matrices()) visit(role, matrix_of(layer, role));
}

/// Calls visit(const MatrixPlace&, Matrix&) for every matrix of the main model once; a head that is tied to the
/// embedding is the embedding. The multi-token-prediction head stands apart: for_each_mtp_matrix().
template <typename Model, typename Visit>
requires std::same_as<std::remove_const_t<Model>, Weights>
void for_each_matrix(Model& weights, Visit&& visit) {
  visit(MatrixPlace{MatrixRole::embed_tokens}, weights.embed_tokens);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    for_each_layer_matrix(weights.layers[i], [&](MatrixRole role, auto& matrix) {
      visit(MatrixPlace{role, static_cast<int64_t>(i)}, matrix);
    });
  }
  if (!weights.tied_head()) visit(MatrixPlace{MatrixRole::lm_head}, weights.lm_head);
}

/// The same for the multi-token-prediction head; nothing when the model has none.
template <typename Model, typename Visit>
requires std::same_as<std::remove_const_t<Model>, Weights>
void for_each_mtp_matrix(Model& weights, Visit&& visit) {
  if (!weights.mtp) return;
  visit(MatrixPlace{MatrixRole::mtp_fc, -1, true}, weights.mtp->fc);
  for (size_t i = 0; i < weights.mtp->layers.size(); ++i) {
    for_each_layer_matrix(weights.mtp->layers[i], [&](MatrixRole role, auto& matrix) {
      visit(MatrixPlace{role, static_cast<int64_t>(i), true}, matrix);
    });
  }
}

}  // namespace prosa
