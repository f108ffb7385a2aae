// Arrays over the loader's views, and the two things that are done with a matrix.
#include "backend/mlx/model.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace prosa::backend::mlx {
namespace {

mx::Dtype mlx_type(DType type) {
  return type == DType::bf16 ? mx::bfloat16 : type == DType::f16 ? mx::float16 : mx::float32;
}

/// Over memory that `owner` keeps; a copy where it is not aligned for its type.
mx::array over(const std::byte* data, int64_t rows, int64_t cols, mx::Dtype type,
               const std::shared_ptr<const Weights>& owner) {
  const mx::Shape shape{static_cast<int>(rows), static_cast<int>(cols)};
  if (reinterpret_cast<std::uintptr_t>(data) % mx::size_of(type) == 0) {
    void* const readable = const_cast<std::byte*>(data);  // MLX takes no const pointer, and writes to no input
    return mx::array(readable, shape, type, [owner](void*) {});
  }
  const auto size = static_cast<size_t>(rows * cols) * mx::size_of(type);
  auto copy = std::make_shared<std::vector<uint64_t>>(size / sizeof(uint64_t) + 1);
  std::memcpy(copy->data(), data, size);
  return mx::array(copy->data(), shape, type, [copy](void*) {});
}

/// Computes them now, so that every later step finds them ready.
mx::array ready(mx::array values) {
  values.eval();
  return values;
}

class ModelLoader {
 public:
  explicit ModelLoader(std::shared_ptr<const Weights> weights) : weights_(std::move(weights)) {}

  MlxMatrix matrix(const Matrix& m) {
    const WeightFormat& f = m.format;
    if (!m.quantized())
      return {over(m.data, m.rows, m.cols, mlx_type(f.type), weights_), std::nullopt, std::nullopt, 0, 0, {}};
    MlxMatrix made{over(m.data, m.rows, m.cols * f.bits / 32, mx::uint32, weights_),
                   std::nullopt,
                   std::nullopt,
                   f.bits,
                   f.group_size,
                   std::string(to_string(f.coding))};
    if (f.has_small_floats()) {
      made.scales = over(m.scales, m.rows, m.groups(), mx::uint8, weights_);
      return made;
    }
    made.scales = floats(m.scales, m);
    made.biases = floats(m.biases, m);
    return made;
  }

  mx::array vector(const std::vector<float>& values) {
    own_bytes += static_cast<int64_t>(values.size() * sizeof(float));
    return float_array(values.data(), {static_cast<int>(values.size())});
  }

  MlxDelta delta(const DeltaNetWeights& w) {
    const auto kernel = static_cast<size_t>(weights_->config.linear_conv_kernel_dim);
    std::vector<mx::array> taps;
    for (size_t tap = 0; tap < kernel; ++tap) {
      std::vector<float> column;
      for (size_t at = tap; at < w.conv1d.size(); at += kernel) column.push_back(w.conv1d[at]);
      taps.push_back(vector(column));
    }
    std::vector<float> decay = w.a_log;
    for (float& value : decay) value = -std::exp(value);
    return {matrix(w.in_proj_qkv), matrix(w.in_proj_z), matrix(w.in_proj_a), matrix(w.in_proj_b), matrix(w.out_proj),
            std::move(taps),       vector(decay),       vector(w.dt_bias),   vector(w.norm)};
  }

  MlxAttention attention(const AttentionWeights& w) {
    return {matrix(w.q_proj), matrix(w.k_proj), matrix(w.v_proj), matrix(w.o_proj), vector(w.q_norm), vector(w.k_norm)};
  }

  MlxLayerWeights layer(const LayerWeights& w) {
    MlxLayerWeights made{vector(w.input_norm),    vector(w.post_attention_norm), std::nullopt,           std::nullopt,
                         matrix(w.mlp.gate_proj), matrix(w.mlp.up_proj),         matrix(w.mlp.down_proj)};
    if (w.delta) made.delta = delta(*w.delta);
    if (w.attention) made.attention = attention(*w.attention);
    return made;
  }

  int64_t own_bytes = 0;

 private:
  mx::array floats(const std::byte* data, const Matrix& m) {
    own_bytes += m.rows * m.groups() * static_cast<int64_t>(sizeof(float));
    return ready(mx::astype(over(data, m.rows, m.groups(), mlx_type(m.format.type), weights_), mx::float32));
  }

  std::shared_ptr<const Weights> weights_;
};

}  // namespace

mx::array float_array(const float* values, mx::Shape shape) { return mx::array(values, std::move(shape), mx::float32); }

mx::array MlxMatrix::product(const mx::array& x) const {
  if (mode.empty()) return mx::matmul(x, mx::transpose(mx::astype(data, mx::float32)));
  return mx::quantized_matmul(x, data, *scales, biases, true, group_size, bits, mode);
}

mx::array MlxMatrix::rows(const mx::array& ids) const {
  const mx::array codes = mx::take(data, ids, 0);
  if (mode.empty()) return mx::astype(codes, mx::float32);
  std::optional<mx::array> of_biases;
  if (biases) of_biases = mx::take(*biases, ids, 0);
  return mx::dequantize(codes, mx::take(*scales, ids, 0), of_biases, group_size, bits, mode, std::nullopt, mx::float32);
}

MlxModel load_model(const std::shared_ptr<const Weights>& weights) {
  ModelLoader loader(weights);
  MlxMatrix embed = loader.matrix(weights->embed_tokens);
  MlxMatrix head = weights->tied_head() ? embed : loader.matrix(weights->lm_head);
  MlxModel model{std::move(embed), {}, loader.vector(weights->norm), std::move(head), 0};
  for (const LayerWeights& layer : weights->layers) model.layers.push_back(loader.layer(layer));
  model.own_bytes = loader.own_bytes;
  return model;
}

}  // namespace prosa::backend::mlx
