// The reference's mixers and MLP with products of float32 matrices.
#include "tools/calibrate/layer_pass.h"

#include "backend/reference/layers.h"
#include "base/mmap.h"
#include "model/dequantize.h"
#include "model/for_each_matrix.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {

namespace reference = backend::reference;

std::vector<NamedMatrix> Half::matrices() const {
  std::vector<NamedMatrix> all = first;
  all.push_back(last);
  return all;
}

std::array<Half, 2> halves_of(const LayerWeights& file, size_t index, const checkpoint::ConvertPlan* plan) {
  const std::string prefix = "language_model.model.layers." + std::to_string(index) + ".";
  const auto layer = std::make_shared<LayerWeights>(file);
  const auto fold = [&](const char* module, std::vector<float>& values) {
    if (plan != nullptr) plan->fold(prefix + module + ".weight", values, 0, std::ssize(values));
  };
  fold("input_layernorm", layer->input_norm);
  fold("post_attention_layernorm", layer->post_attention_norm);
  if (layer->delta) fold("linear_attn.norm", layer->delta->norm);
  // The last matrix of a half reads what the others made.
  const auto half = [&](bool mixer, std::span<const MatrixRole> roles) {
    Half result{layer, mixer, {}, {}};
    for (const MatrixRole role : roles) {
      result.first.push_back({prefix + std::string(module_name(role)) + ".weight", &matrix_of(*layer, role), plan});
    }
    result.last = std::move(result.first.back());
    result.first.pop_back();
    return result;
  };
  return {half(true, mixer_matrices(layer_type(*layer))), half(false, mlp_matrices())};
}

std::vector<float> read_rows(const NamedMatrix& named, int64_t begin, int64_t end) {
  const Matrix& matrix = *named.matrix;
  std::vector<float> values(static_cast<size_t>((end - begin) * matrix.cols));
  for (int64_t row = begin; row < end; ++row) dequantize_row(matrix, row, values.data() + (row - begin) * matrix.cols);
  if (named.plan != nullptr) named.plan->fold(named.name, values, begin, matrix.cols);
  if (!matrix.quantized()) {  // mapped pages that were read count as memory until they are given back
    release_pages({matrix.data, static_cast<size_t>(matrix.byte_size())});
  }
  return values;
}

FloatMatrices read_half(const Half& half) {
  FloatMatrices values;
  for (const NamedMatrix& named : half.matrices())
    values.emplace(named.matrix, read_rows(named, 0, named.matrix->rows));
  return values;
}

std::vector<float> half_input(const ModelConfig& config, const Half& half, std::span<const float> x) {
  return reference::rms_norm_rows(x, half.norm(), config.rms_norm_eps);
}

std::vector<float> half_inside(const ModelConfig& config, const Half& half, const FloatMatrices& values,
                               std::span<const float> input, ThreadPool& pool) {
  const auto tokens = static_cast<int64_t>(input.size()) / config.hidden_size;
  std::vector<float> inside;
  const auto product = [&](const Matrix& w, std::span<const float> x) {
    if (&w == half.last.matrix) {
      inside.assign(x.begin(), x.end());
      return std::vector<float>();  // the end: what it would be goes nowhere
    }
    std::vector<float> y(static_cast<size_t>(tokens * w.rows));
    multiply({x.data(), tokens, w.cols, w.cols}, {values.at(&w).data(), w.rows, w.cols, w.cols}, Into::assign, y.data(),
             w.rows, pool);
    return y;
  };
  if (half.mixer) {
    const LayerType type = half.layer->delta ? LayerType::linear_attention : LayerType::full_attention;
    reference::LayerState state = reference::make_layer_state(config, type, tokens);
    (void)reference::run_mixer(config, *half.layer, state, 0, input, pool, product);
  } else {
    (void)reference::run_mlp(half.layer->mlp, input, product);
  }
  return inside;
}

void half_output(const Half& half, const FloatMatrices& values, std::span<const float> inside, std::span<float> x,
                 ThreadPool& pool) {
  const Matrix& w = *half.last.matrix;
  multiply({inside.data(), std::ssize(x) / w.rows, w.cols, w.cols}, {values.at(&w).data(), w.rows, w.cols, w.cols},
           Into::add, x.data(), w.rows, pool);
}

void pass_half(const ModelConfig& config, const Half& half, const FloatMatrices& values, std::span<float> x,
               ThreadPool& pool) {
  half_output(half, values, half_inside(config, half, values, half_input(config, half, x), pool), x, pool);
}

std::vector<std::vector<float>> final_states(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                             std::vector<std::vector<float>> hidden, ThreadPool& pool,
                                             const std::function<void(double)>& tell) {
  for (size_t index = 0; index < weights.layers.size(); ++index) {
    tell(static_cast<double>(index) / static_cast<double>(weights.layers.size()));
    for (const Half& half : halves_of(weights.layers[index], index, plan)) {
      const FloatMatrices values = read_half(half);
      for (auto& x : hidden) pass_half(weights.config, half, values, x, pool);
    }
  }
  for (auto& x : hidden) x = reference::rms_norm_rows(x, weights.norm, weights.config.rms_norm_eps);
  return hidden;
}

}  // namespace prosa::calibrate
