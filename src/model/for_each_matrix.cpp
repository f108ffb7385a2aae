// Roles, names and shapes.
#include "model/for_each_matrix.h"

namespace prosa {
namespace {

using enum MatrixRole;

constexpr std::array kDeltaNetMatrices{in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj};
constexpr std::array kAttentionMatrices{q_proj, k_proj, v_proj, o_proj};
constexpr std::array kMlpMatrices{gate_proj, up_proj, down_proj};
constexpr std::array kDeltaNetVectors{VectorRole::conv1d, VectorRole::a_log, VectorRole::dt_bias,
                                      VectorRole::delta_norm};
constexpr std::array kAttentionVectors{VectorRole::q_norm, VectorRole::k_norm};

}  // namespace

std::span<const MatrixRole> mixer_matrices(LayerType type) noexcept {
  if (type == LayerType::linear_attention) return kDeltaNetMatrices;
  return kAttentionMatrices;
}

std::span<const MatrixRole> mlp_matrices() noexcept { return kMlpMatrices; }

std::span<const VectorRole> mixer_vectors(LayerType type) noexcept {
  if (type == LayerType::linear_attention) return kDeltaNetVectors;
  return kAttentionVectors;
}

std::string_view module_name(MatrixRole role) noexcept {
  switch (role) {
    case embed_tokens: return "embed_tokens";
    case in_proj_qkv: return "linear_attn.in_proj_qkv";
    case in_proj_z: return "linear_attn.in_proj_z";
    case in_proj_b: return "linear_attn.in_proj_b";
    case in_proj_a: return "linear_attn.in_proj_a";
    case out_proj: return "linear_attn.out_proj";
    case q_proj: return "self_attn.q_proj";
    case k_proj: return "self_attn.k_proj";
    case v_proj: return "self_attn.v_proj";
    case o_proj: return "self_attn.o_proj";
    case gate_proj: return "mlp.gate_proj";
    case up_proj: return "mlp.up_proj";
    case down_proj: return "mlp.down_proj";
    case lm_head: return "lm_head";
    case mtp_fc: return "fc";
  }
  return "unknown";
}

std::string_view tensor_name(VectorRole role) noexcept {
  switch (role) {
    case VectorRole::input_norm: return "input_layernorm.weight";
    case VectorRole::conv1d: return "linear_attn.conv1d.weight";
    case VectorRole::a_log: return "linear_attn.A_log";
    case VectorRole::dt_bias: return "linear_attn.dt_bias";
    case VectorRole::delta_norm: return "linear_attn.norm.weight";
    case VectorRole::q_norm: return "self_attn.q_norm.weight";
    case VectorRole::k_norm: return "self_attn.k_norm.weight";
    case VectorRole::post_attention_norm: return "post_attention_layernorm.weight";
  }
  return "unknown";
}

MatrixDims matrix_dims(const ModelConfig& c, MatrixRole role) noexcept {
  switch (role) {
    case embed_tokens:
    case lm_head: return {c.vocab_size, c.hidden_size};
    case in_proj_qkv: return {c.conv_dim(), c.hidden_size};
    case in_proj_z: return {c.value_dim(), c.hidden_size};
    case in_proj_b:
    case in_proj_a: return {c.linear_num_value_heads, c.hidden_size};
    case out_proj: return {c.hidden_size, c.value_dim()};
    case q_proj: return {2 * c.query_dim(), c.hidden_size};
    case k_proj:
    case v_proj: return {c.kv_dim(), c.hidden_size};
    case o_proj: return {c.hidden_size, c.query_dim()};
    case gate_proj:
    case up_proj: return {c.intermediate_size, c.hidden_size};
    case down_proj: return {c.hidden_size, c.intermediate_size};
    case mtp_fc: return {c.hidden_size, 2 * c.hidden_size};
  }
  return {};
}

std::string MatrixPlace::module() const {
  std::string name = mtp ? "mtp." : "";
  if (layer >= 0) name += "layers." + std::to_string(layer) + ".";
  return name.append(module_name(role));
}

}  // namespace prosa
