// Sizes of a model, counted over every tensor once. Holds no policy about loading.
#include "model/weights.h"

#include "model/for_each_matrix.h"

namespace prosa {

int64_t Weights::byte_size() const {
  int64_t bytes = vector_bytes;
  for_each_matrix(*this, [&](const MatrixPlace&, const Matrix& matrix) { bytes += matrix.byte_size(); });
  return bytes;
}

int64_t Weights::parameter_count() const {
  auto count = static_cast<int64_t>(norm.size());
  for_each_matrix(*this, [&](const MatrixPlace&, const Matrix& matrix) { count += matrix.rows * matrix.cols; });
  const auto add = [&count](const std::vector<float>& values) { count += static_cast<int64_t>(values.size()); };
  for (const LayerWeights& layer : layers) {
    add(layer.input_norm);
    for (const VectorRole role : mixer_vectors(layer_type(layer))) add(vector_of(layer, role));
    add(layer.post_attention_norm);
  }
  return count;
}

}  // namespace prosa
