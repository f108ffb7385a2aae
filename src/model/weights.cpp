// Sizes of a model, counted over every tensor once. Holds no policy about loading.
#include "model/weights.h"

#include <functional>

namespace prosa {

namespace {

using MatrixVisitor = std::function<void(const Matrix&)>;
using VectorVisitor = std::function<void(const std::vector<float>&)>;

/// Every tensor of the main model once; a tied head not again.
void visit(const Weights& weights, const MatrixVisitor& matrix, const VectorVisitor& vector) {
  matrix(weights.embed_tokens);
  for (const LayerWeights& layer : weights.layers) {
    vector(layer.input_norm);
    vector(layer.post_attention_norm);
    if (layer.delta) {
      const DeltaNetWeights& delta = *layer.delta;
      for (const Matrix* m :
           {&delta.in_proj_qkv, &delta.in_proj_z, &delta.in_proj_b, &delta.in_proj_a, &delta.out_proj}) {
        matrix(*m);
      }
      for (const auto* v : {&delta.conv1d, &delta.a_log, &delta.dt_bias, &delta.norm}) vector(*v);
    }
    if (layer.attention) {
      const AttentionWeights& attention = *layer.attention;
      for (const Matrix* m : {&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj}) matrix(*m);
      vector(attention.q_norm);
      vector(attention.k_norm);
    }
    for (const Matrix* m : {&layer.mlp.gate_proj, &layer.mlp.up_proj, &layer.mlp.down_proj}) matrix(*m);
  }
  vector(weights.norm);
  if (weights.lm_head.data != weights.embed_tokens.data) matrix(weights.lm_head);
}

}  // namespace

int64_t Weights::byte_size() const {
  int64_t bytes = vector_bytes;
  visit(
      *this, [&](const Matrix& m) { bytes += m.byte_size(); }, [](const std::vector<float>&) {});
  return bytes;
}

int64_t Weights::parameter_count() const {
  int64_t count = 0;
  visit(
      *this, [&](const Matrix& m) { count += m.rows * m.cols; },
      [&](const std::vector<float>& v) { count += static_cast<int64_t>(v.size()); });
  return count;
}

}  // namespace prosa
