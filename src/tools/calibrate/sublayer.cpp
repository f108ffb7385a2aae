// The reference's mixers and MLP with products of float32 matrices.
#include "tools/calibrate/sublayer.h"

#include "backend/reference/layers.h"
#include "base/mmap.h"
#include "model/dequantize.h"
#include "model/for_each_matrix.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {

namespace reference = backend::reference;

std::vector<NamedMatrix> Sublayer::matrices() const {
  std::vector<NamedMatrix> all = first;
  all.push_back(last);
  return all;
}

std::array<Sublayer, 2> sublayers_of(const LayerWeights& file, size_t index, const checkpoint::ConvertPlan* plan) {
  const std::string prefix = "language_model.model.layers." + std::to_string(index) + ".";
  const auto layer = std::make_shared<LayerWeights>(file);
  const auto fold = [&](const char* module, std::vector<float>& values) {
    if (plan != nullptr) plan->fold(prefix + module + ".weight", values, 0, std::ssize(values));
  };
  fold("input_layernorm", layer->input_norm);
  fold("post_attention_layernorm", layer->post_attention_norm);
  if (layer->delta) fold("linear_attn.norm", layer->delta->norm);
  // The last matrix of a sublayer reads what the others made.
  const auto make = [&](bool mixer, std::span<const MatrixRole> roles) {
    Sublayer result{layer, mixer, {}, {}};
    for (const MatrixRole role : roles) {
      result.first.push_back({prefix + std::string(module_name(role)) + ".weight", &matrix_of(*layer, role), plan});
    }
    result.last = std::move(result.first.back());
    result.first.pop_back();
    return result;
  };
  return {make(true, mixer_matrices(layer_type(*layer))), make(false, mlp_matrices())};
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

FloatMatrices read_sublayer(const Sublayer& sublayer) {
  FloatMatrices values;
  for (const NamedMatrix& named : sublayer.matrices())
    values.emplace(named.matrix, read_rows(named, 0, named.matrix->rows));
  return values;
}

std::vector<float> sublayer_input(const ModelConfig& config, const Sublayer& sublayer, std::span<const float> x) {
  return reference::rms_norm_rows(x, sublayer.norm(), config.rms_norm_eps);
}

std::vector<float> sublayer_inner(const ModelConfig& config, const Sublayer& sublayer, const FloatMatrices& values,
                                  std::span<const float> input, ThreadPool& pool) {
  const auto tokens = static_cast<int64_t>(input.size()) / config.hidden_size;
  std::vector<float> inside;
  const auto product = [&](const Matrix& w, std::span<const float> x) {
    if (&w == sublayer.last.matrix) {
      inside.assign(x.begin(), x.end());
      return std::vector<float>();  // the end: what it would be goes nowhere
    }
    std::vector<float> y(static_cast<size_t>(tokens * w.rows));
    multiply({x.data(), tokens, w.cols, w.cols}, {values.at(&w).data(), w.rows, w.cols, w.cols}, Into::assign, y.data(),
             w.rows, pool);
    return y;
  };
  if (sublayer.mixer) {
    const LayerType type = sublayer.layer->delta ? LayerType::linear_attention : LayerType::full_attention;
    reference::LayerState state = reference::make_layer_state(config, type, tokens);
    (void)reference::run_mixer(config, *sublayer.layer, state, 0, input, pool, product);
  } else {
    (void)reference::run_mlp(sublayer.layer->mlp, input, product);
  }
  return inside;
}

void add_sublayer_output(const Sublayer& sublayer, const FloatMatrices& values, std::span<const float> inside,
                         std::span<float> x, ThreadPool& pool) {
  const Matrix& w = *sublayer.last.matrix;
  multiply({inside.data(), std::ssize(x) / w.rows, w.cols, w.cols}, {values.at(&w).data(), w.rows, w.cols, w.cols},
           Into::add, x.data(), w.rows, pool);
}

void run_sublayer(const ModelConfig& config, const Sublayer& sublayer, const FloatMatrices& values, std::span<float> x,
                  ThreadPool& pool) {
  add_sublayer_output(sublayer, values,
                      sublayer_inner(config, sublayer, values, sublayer_input(config, sublayer, x), pool), x, pool);
}

std::vector<std::vector<float>> final_states(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                             std::vector<std::vector<float>> hidden, ThreadPool& pool,
                                             const std::function<void(double)>& tell) {
  for (size_t index = 0; index < weights.layers.size(); ++index) {
    tell(static_cast<double>(index) / static_cast<double>(weights.layers.size()));
    for (const Sublayer& sublayer : sublayers_of(weights.layers[index], index, plan)) {
      const FloatMatrices values = read_sublayer(sublayer);
      weights.require_intact();
      for (auto& x : hidden) run_sublayer(weights.config, sublayer, values, x, pool);
    }
  }
  for (auto& x : hidden) x = reference::rms_norm_rows(x, weights.norm, weights.config.rms_norm_eps);
  return hidden;
}

}  // namespace prosa::calibrate
