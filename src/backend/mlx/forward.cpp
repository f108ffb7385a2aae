// The formulas of the reference, in MLX's operations.
#include "backend/mlx/forward.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <mlx/device.h>
#include <mlx/fast.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "backend/mlx/delta.h"

namespace prosa::backend::mlx {
namespace {

int narrow(int64_t value) { return static_cast<int>(value); }  // dimensions of a checked config

mx::array silu(const mx::array& x) { return mx::multiply(x, mx::sigmoid(x)); }

/// Columns [begin, end) of x [n, width].
mx::array columns(const mx::array& x, int64_t begin, int64_t end) {
  return mx::slice(x, {0, narrow(begin)}, {x.shape(0), narrow(end)});
}

/// Room for `length` tokens: whole blocks, what was there first.
void grow(std::optional<mx::array>& cache, const ModelConfig& c, int64_t length) {
  const int64_t has = cache ? cache->shape(2) : 0;
  if (length <= has) return;
  const int64_t wanted = (length + kKvBlock - 1) / kKvBlock * kKvBlock;
  mx::array more = mx::zeros({1, narrow(c.num_key_value_heads), narrow(wanted - has), narrow(c.head_dim)}, mx::float32);
  cache = cache ? mx::concatenate({*cache, more}, 2) : more;
}

/// Writes rows [1, heads, n, head_dim] at `position` and returns all up to their end.
mx::array extend(std::optional<mx::array>& cache, const ModelConfig& c, const mx::array& rows, int64_t position) {
  const int heads = narrow(c.num_key_value_heads);
  const int width = narrow(c.head_dim);
  const int begin = narrow(position);
  const int end = begin + rows.shape(2);
  grow(cache, c, end);
  cache = mx::slice_update(*cache, rows, mx::Shape{0, 0, begin, 0}, mx::Shape{1, heads, end, width});
  return mx::slice(*cache, {0, 0, 0, 0}, {1, heads, end, width});
}

mx::array gated_attention(const ModelConfig& c, const MlxAttention& w, MlxLayerState& state, int64_t position,
                          const mx::array& x) {
  const int n = x.shape(0);
  const int heads = narrow(c.num_attention_heads);
  const int width = narrow(c.head_dim);
  const auto by_head = [](const mx::array& rows) { return mx::transpose(rows, {0, 2, 1, 3}); };
  const auto rotated = [&](const mx::array& rows, const mx::array& norm) {
    return mx::fast::rope(by_head(mx::fast::rms_norm(rows, norm, c.rms_norm_eps)), narrow(c.rotary_dim), false,
                          static_cast<float>(c.rope_theta), 1.0F, narrow(position));
  };
  const auto kv = [&](const MlxMatrix& m) {
    return mx::reshape(m.product(x), {1, n, narrow(c.num_key_value_heads), width});
  };
  const mx::array q_gate = mx::reshape(w.q.product(x), {1, n, heads, 2 * width});
  const mx::array q = mx::slice(q_gate, {0, 0, 0, 0}, {1, n, heads, width});
  const mx::array gate = mx::reshape(mx::slice(q_gate, {0, 0, 0, width}, {1, n, heads, 2 * width}), {n, heads * width});
  const mx::array keys = extend(state.keys, c, rotated(kv(w.k), w.k_norm), position);
  const mx::array values = extend(state.values, c, by_head(kv(w.v)), position);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));
  const mx::array mixed = mx::fast::scaled_dot_product_attention(rotated(q, w.q_norm), keys, values, scale,
                                                                 n > 1 ? "causal" : "");  // [1, heads, n, head_dim]
  return w.o.product(mx::multiply(mx::reshape(by_head(mixed), {n, heads * width}), mx::sigmoid(gate)));
}

/// SiLU(causal_conv([last inputs | x])).    x, result [n, conv_dim]
mx::array conv_with_state(const MlxDelta& w, MlxLayerState& state, const mx::array& x) {
  const int n = x.shape(0);
  const int kept = static_cast<int>(w.taps.size()) - 1;
  const mx::array window = mx::concatenate({*state.conv, x}, 0);
  const auto shifted = [&](int by, int rows) { return mx::slice(window, {by, 0}, {by + rows, x.shape(1)}); };
  mx::array sum = mx::multiply(shifted(0, n), w.taps[0]);
  for (int tap = 1; tap <= kept; ++tap)
    sum = mx::add(sum, mx::multiply(shifted(tap, n), w.taps[static_cast<size_t>(tap)]));
  state.conv = mx::contiguous(shifted(n, kept));
  return silu(sum);
}

/// q, k [1, n, key_heads, dk], v [1, n, value_heads, dv], log_decay, beta [n, value_heads] -> [1, n, value_heads, dv]
mx::array by_token(MlxLayerState& state, const mx::array& q, const mx::array& k, const mx::array& v,
                   const mx::array& log_decay, const mx::array& beta) {
  const auto batched = [](const mx::array& x) { return mx::expand_dims(x, 0); };
  const std::vector<mx::array> made =
      mx::fast::gated_delta_update(q, k, v, batched(mx::exp(log_decay)), batched(beta), *state.recurrent);
  state.recurrent = made[1];
  return made[0];
}

mx::array by_piece(MlxLayerState& state, const mx::array& q, const mx::array& k, const mx::array& v,
                   const mx::array& log_decay, const mx::array& beta) {
  const int value_heads = v.shape(2);
  const auto by_head = [&](const mx::array& x) {
    return mx::repeat(mx::transpose(mx::squeeze(x, 0), {1, 0, 2}), value_heads / x.shape(2), 0);
  };
  const auto [out, next] = delta_rule(by_head(q), by_head(k), by_head(v), mx::transpose(log_decay), mx::transpose(beta),
                                      mx::squeeze(*state.recurrent, 0));
  state.recurrent = mx::contiguous(mx::expand_dims(next, 0));
  return mx::expand_dims(mx::transpose(out, {1, 0, 2}), 0);
}

mx::array gated_delta_net(const ModelConfig& c, const MlxDelta& w, MlxLayerState& state, const mx::array& x) {
  const int n = x.shape(0);
  const int dk = narrow(c.linear_key_head_dim);
  const int dv = narrow(c.linear_value_head_dim);
  const int value_heads = narrow(c.linear_num_value_heads);
  const mx::array qkv = conv_with_state(w, state, w.qkv.product(x));
  // x / sqrt(sum(x^2) + 1e-6), by the mean that rms_norm divides by.
  const auto normalized = [&](int64_t from, double scale) {
    const mx::array rows =
        mx::reshape(columns(qkv, from, from + c.key_dim()), {1, n, narrow(c.linear_num_key_heads), dk});
    const auto eps = static_cast<float>(1e-6 / dk);
    return mx::multiply(mx::fast::rms_norm(rows, std::nullopt, eps), mx::array(static_cast<float>(scale)));
  };
  const mx::array q = normalized(0, 1.0 / dk);
  const mx::array k = normalized(c.key_dim(), 1.0 / std::sqrt(static_cast<double>(dk)));
  const mx::array v = mx::reshape(columns(qkv, 2 * c.key_dim(), c.conv_dim()), {1, n, value_heads, dv});
  const mx::array step = mx::logaddexp(mx::add(w.a.product(x), w.dt_bias), mx::array(0.0F));  // softplus
  const mx::array log_decay = mx::multiply(w.decay, step);                                    // [n, value_heads]
  const mx::array beta = mx::sigmoid(w.b.product(x));
  const mx::array mixed = n == 1 || mx::default_device() == mx::Device::gpu ? by_token(state, q, k, v, log_decay, beta)
                                                                            : by_piece(state, q, k, v, log_decay, beta);
  const mx::array normed = mx::reshape(mx::fast::rms_norm(mixed, w.norm, c.rms_norm_eps), {n, value_heads * dv});
  return w.out.product(mx::multiply(normed, silu(w.z.product(x))));
}

mx::array layer_over(const ModelConfig& c, const MlxLayerWeights& w, MlxLayerState& state, int64_t position,
                     const mx::array& x) {
  const mx::array input = mx::fast::rms_norm(x, w.input_norm, c.rms_norm_eps);
  const mx::array mixed = mx::add(x, w.attention ? gated_attention(c, *w.attention, state, position, input)
                                                 : gated_delta_net(c, *w.delta, state, input));
  const mx::array inner = mx::fast::rms_norm(mixed, w.post_norm, c.rms_norm_eps);
  return mx::add(mixed, w.down.product(mx::multiply(silu(w.gate.product(inner)), w.up.product(inner))));
}

void collect(const MlxLayerState& layer, std::vector<mx::array>& all) {
  for (const auto* part : {&layer.keys, &layer.values, &layer.conv, &layer.recurrent})
    if (*part) all.push_back(**part);
}

}  // namespace

std::vector<MlxLayerState> empty_layers(const ModelConfig& c) {
  const mx::array conv = mx::zeros({narrow(c.linear_conv_kernel_dim - 1), narrow(c.conv_dim())}, mx::float32);
  const mx::array recurrent =
      mx::zeros({1, narrow(c.linear_num_value_heads), narrow(c.linear_value_head_dim), narrow(c.linear_key_head_dim)},
                mx::float32);
  std::vector<MlxLayerState> layers(c.layer_types.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    if (c.layer_types[i] == LayerType::full_attention) continue;
    layers[i].conv = mx::contiguous(conv);
    layers[i].recurrent = mx::contiguous(recurrent);
  }
  settle(layers);
  return layers;
}

std::optional<mx::array> forward(const ModelConfig& config, const MlxModel& model, std::vector<MlxLayerState>& layers,
                                 int64_t position, std::span<const int32_t> tokens, const Cancel& cancel) {
  if (cancel.requested()) return std::nullopt;
  mx::array x = model.embed.rows(mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32));
  for (size_t i = 0; i < layers.size(); ++i) {
    x = layer_over(config, model.layers[i], layers[i], position, x);
    if (tokens.size() == 1) continue;
    std::vector<mx::array> now{x};
    collect(layers[i], now);
    mx::eval(std::move(now));
    if (cancel.requested()) return std::nullopt;
  }
  return x;
}

mx::array head(const ModelConfig& config, const MlxModel& model, const mx::array& x) {
  return mx::contiguous(model.head.product(mx::fast::rms_norm(x, model.norm, config.rms_norm_eps)));
}

void settle(const std::vector<MlxLayerState>& layers, std::optional<mx::array> last) {
  std::vector<mx::array> all;
  for (const MlxLayerState& layer : layers) collect(layer, all);
  if (last) all.push_back(*last);
  mx::eval(std::move(all));
}

}  // namespace prosa::backend::mlx
