// The reference's layer with products of float32 matrices.
#include "calibrate/layer_pass.h"

#include "backend/reference/layers.h"
#include "base/check.h"
#include "base/mmap.h"
#include "checkpoint/checkpoint.h"

namespace prosa::calibrate {

namespace reference = backend::reference;

std::vector<Site> sites_of(const LayerWeights& layer, size_t index) {
  const std::string prefix = "language_model.model.layers." + std::to_string(index) + ".";
  const auto named = [&](const char* module, const Matrix& matrix) {
    return NamedMatrix{prefix + module + ".weight", &matrix};
  };
  std::vector<Site> sites;
  if (layer.delta) {
    sites.push_back({{named("linear_attn.in_proj_qkv", layer.delta->in_proj_qkv),
                      named("linear_attn.in_proj_z", layer.delta->in_proj_z),
                      named("linear_attn.in_proj_b", layer.delta->in_proj_b),
                      named("linear_attn.in_proj_a", layer.delta->in_proj_a)}});
    sites.push_back({{named("linear_attn.out_proj", layer.delta->out_proj)}});
  } else {
    PROSA_CHECK(layer.attention.has_value());
    sites.push_back(
        {{named("self_attn.q_proj", layer.attention->q_proj), named("self_attn.k_proj", layer.attention->k_proj),
          named("self_attn.v_proj", layer.attention->v_proj)}});
    sites.push_back({{named("self_attn.o_proj", layer.attention->o_proj)}});
  }
  sites.push_back({{named("mlp.gate_proj", layer.mlp.gate_proj), named("mlp.up_proj", layer.mlp.up_proj)}});
  sites.push_back({{named("mlp.down_proj", layer.mlp.down_proj)}});
  return sites;
}

std::vector<float> read_matrix(const Matrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  for (int64_t row = 0; row < matrix.rows; ++row)
    checkpoint::dequantize_row(matrix, row, values.data() + row * matrix.cols);
  if (!matrix.quantized()) {  // mapped pages that were read count as memory until they are given back
    release_pages({matrix.data, static_cast<size_t>(matrix.byte_size())});
  }
  return values;
}

namespace {
struct Enough {};  // leaves a layer in its middle
}  // namespace

void pass_layer(const ModelConfig& config, const LayerWeights& layer, std::span<const Site> sites,
                const FloatMatrices& values, std::vector<float>& hidden, ThreadPool& pool, const SeeInput& see) {
  const auto tokens = static_cast<int64_t>(hidden.size()) / config.hidden_size;
  const LayerType type = layer.delta ? LayerType::linear_attention : LayerType::full_attention;
  reference::LayerState state = reference::make_layer_state(config, type, tokens);
  const auto product = [&](const Matrix& w, std::span<const float> x) {
    for (size_t site = 0; see && site < sites.size(); ++site) {
      if (sites[site].matrices.front().matrix == &w && !see(site, x)) throw Enough();
    }
    std::vector<float> y(static_cast<size_t>(tokens * w.rows));
    multiply({x.data(), tokens, w.cols, w.cols}, {values.at(&w).data(), w.rows, w.cols, w.cols}, Into::assign, y.data(),
             w.rows, pool);
    return y;
  };
  try {
    reference::run_layer(config, layer, state, 0, hidden, pool, product);
  } catch (const Enough&) {  // hidden is of no use to who stopped
  }
}

}  // namespace prosa::calibrate
