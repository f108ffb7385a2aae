// Gated attention, Gated DeltaNet and the SwiGLU MLP, written down as the formulas say.
//
// Invariant: whatever is split over threads is split by rows, tokens or heads that do not share a sum.
#include "backend/reference/layers.h"

#include <algorithm>
#include <cmath>

#include "backend/reference/formulas.h"
#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "model/dequantize.h"

namespace prosa::backend::reference {
namespace {

/// Calls body(worker, begin, end) for the workers' shares of [0, count). `cost`: multiplications of a row; what is too
/// small to be worth waking threads runs on the caller's. The body must not throw and writes only what its rows own.
template <typename Body>
void parallel_rows(ThreadPool& pool, int64_t count, int64_t cost, const Body& body) {
  constexpr int64_t worth_waking = 1 << 16;
  if (pool.size() == 1 || count * cost < worth_waking) return body(0, int64_t{0}, count);
  pool.run([&](int worker) {
    const Range range = share(count, worker, pool.size());
    body(worker, range.begin, range.end);
  });
}

}  // namespace

std::vector<float> linear(const Matrix& w, std::span<const float> x, ThreadPool& pool) {
  PROSA_CHECK(w.cols > 0 && x.size() % static_cast<size_t>(w.cols) == 0);
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  std::vector<float> buffers(static_cast<size_t>(pool.size() * w.cols));  // one dequantized row a thread
  parallel_rows(pool, w.rows, w.cols * (tokens + 1), [&](int worker, int64_t begin, int64_t end) {
    float* row = buffers.data() + worker * w.cols;
    for (int64_t r = begin; r < end; ++r) {
      dequantize_row(w, r, row);
      for (int64_t t = 0; t < tokens; ++t) y[t * w.rows + r] = dot(row, x.data() + t * w.cols, w.cols);
    }
  });
  return y;
}

LayerState make_layer_state(const ModelConfig& c, LayerType type, int64_t capacity) {
  LayerState state;
  if (type == LayerType::full_attention) {
    state.keys = AlignedBuffer<float>(capacity * c.kv_dim(), "the keys of a state");
    state.values = AlignedBuffer<float>(capacity * c.kv_dim(), "the values of a state");
  } else {
    state.conv.resize(static_cast<size_t>((c.linear_conv_kernel_dim - 1) * c.conv_dim()));
    state.recurrent.resize(
        static_cast<size_t>(c.linear_num_value_heads * c.linear_key_head_dim * c.linear_value_head_dim));
  }
  return state;
}

std::vector<float> embed(const Weights& w, std::span<const int32_t> tokens) {
  const int64_t hidden = w.config.hidden_size;
  std::vector<float> x(tokens.size() * static_cast<size_t>(hidden));
  for (size_t t = 0; t < tokens.size(); ++t) {
    dequantize_row(w.embed_tokens, tokens[t], x.data() + static_cast<int64_t>(t) * hidden);
  }
  return x;
}

std::vector<float> rms_norm_rows(std::span<const float> x, std::span<const float> weight, float eps) {
  std::vector<float> out(x.size());
  const size_t width = weight.size();
  for (size_t at = 0; at < x.size(); at += width) {
    rms_norm(x.subspan(at, width), weight, eps, std::span(out).subspan(at, width));
  }
  return out;
}

namespace {

/// scores[s] = q . k[s] / sqrt(head_dim) for s <= position; out = softmax(scores) v
///   q, out [head_dim]; keys, values: row s at s * stride
void attend(std::span<const float> q, const float* keys, const float* values, int64_t stride, int64_t position,
            std::span<float> scores, std::span<float> out) {
  const auto head_dim = static_cast<int64_t>(q.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  const std::span<float> seen = scores.first(static_cast<size_t>(position + 1));
  for (int64_t s = 0; s <= position; ++s) seen[s] = dot(q.data(), keys + s * stride, head_dim) * scale;
  softmax(seen);
  std::ranges::fill(out, 0.0F);
  for (int64_t s = 0; s <= position; ++s) {
    for (int64_t d = 0; d < head_dim; ++d) out[d] += seen[s] * values[s * stride + d];
  }
}

/// RMSNorm and rotary embedding of every head, in place.    heads: [count, head_dim] at a distance of `stride`
void norm_and_rotate(const ModelConfig& c, float* heads, int64_t count, int64_t stride, std::span<const float> norm,
                     int64_t position) {
  for (int64_t h = 0; h < count; ++h) {
    const std::span<float> head(heads + h * stride, static_cast<size_t>(c.head_dim));
    rms_norm(head, norm, c.rms_norm_eps, head);
    rotate(head, c.rotary_dim, c.rope_theta, position);
  }
}

/// Gated attention with grouped key/value heads:
///   [q | gate] = q_proj x per head, k = k_proj x, v = v_proj x; q, k <- rotate(rms_norm(.))
///   out = o_proj( attend(q, k, v) * sigmoid(gate) )                x, out [n, hidden]
std::vector<float> gated_attention(const ModelConfig& c, const AttentionWeights& w, LayerState& state, int64_t position,
                                   std::span<const float> x, ThreadPool& pool, const Product& product) {
  const int64_t n = static_cast<int64_t>(x.size()) / c.hidden_size;
  const int64_t kv_dim = c.kv_dim();
  std::vector<float> q_gate = product(w.q_proj, x);  // [n, heads, 2, head_dim]
  const std::vector<float> k = product(w.k_proj, x);
  const std::vector<float> v = product(w.v_proj, x);
  std::ranges::copy(k, state.keys.data() + position * kv_dim);
  std::ranges::copy(v, state.values.data() + position * kv_dim);
  for (int64_t t = 0; t < n; ++t) {
    float* q = q_gate.data() + t * 2 * c.query_dim();
    norm_and_rotate(c, q, c.num_attention_heads, 2 * c.head_dim, w.q_norm, position + t);
    float* key = state.keys.data() + (position + t) * kv_dim;
    norm_and_rotate(c, key, c.num_key_value_heads, c.head_dim, w.k_norm, position + t);
  }

  std::vector<float> mixed(static_cast<size_t>(n * c.query_dim()));
  const int64_t length = position + n;
  std::vector<float> scores(static_cast<size_t>(pool.size() * length));
  const int64_t group = c.num_attention_heads / c.num_key_value_heads;
  parallel_rows(pool, n, 2 * length * c.query_dim(), [&](int worker, int64_t begin, int64_t end) {
    const std::span<float> own_scores(scores.data() + worker * length, static_cast<size_t>(length));
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < c.num_attention_heads; ++h) {
        const float* q = q_gate.data() + (t * c.num_attention_heads + h) * 2 * c.head_dim;
        const float* gate = q + c.head_dim;
        const int64_t kv_head = (h / group) * c.head_dim;
        const std::span<float> out(mixed.data() + t * c.query_dim() + h * c.head_dim, static_cast<size_t>(c.head_dim));
        attend({q, out.size()}, state.keys.data() + kv_head, state.values.data() + kv_head, kv_dim, position + t,
               own_scores, out);
        for (int64_t d = 0; d < c.head_dim; ++d) out[d] *= sigmoid(gate[d]);
      }
    }
  });
  return product(w.o_proj, mixed);
}

/// Convolution with memory: SiLU(causal_conv([last inputs | x])); the state keeps the last kernel - 1 inputs.
///   x, out [n, conv_dim]
std::vector<float> conv_with_state(const ModelConfig& c, const DeltaNetWeights& w, LayerState& state,
                                   std::span<const float> x) {
  std::vector<float> window = state.conv;
  window.insert(window.end(), x.begin(), x.end());
  std::vector<float> out(x.size());
  causal_conv(window, w.conv1d, c.linear_conv_kernel_dim, c.conv_dim(), out);
  std::ranges::transform(out, out.begin(), silu);
  state.conv.assign(window.end() - static_cast<std::ptrdiff_t>(state.conv.size()), window.end());
  return out;
}

/// One value head over all n tokens; it reads the key head of its group.
///   qkv [n, conv_dim], a, b [n, num_value_heads] -> out[:, head] of [n, value_dim]
void delta_head(const ModelConfig& c, const DeltaNetWeights& w, LayerState& state, int64_t head,
                std::span<const float> qkv, std::span<const float> a, std::span<const float> b, std::span<float> q,
                std::span<float> k, std::span<float> out) {
  const int64_t dk = c.linear_key_head_dim;
  const int64_t dv = c.linear_value_head_dim;
  const int64_t heads = c.linear_num_value_heads;
  const int64_t key_head = head / (heads / c.linear_num_key_heads);
  const std::span<float> s(state.recurrent.data() + head * dk * dv, static_cast<size_t>(dk * dv));
  const auto query_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dk)));
  const int64_t n = static_cast<int64_t>(qkv.size()) / c.conv_dim();
  for (int64_t t = 0; t < n; ++t) {
    const float* row = qkv.data() + t * c.conv_dim();
    std::copy_n(row + key_head * dk, dk, q.begin());
    std::copy_n(row + c.key_dim() + key_head * dk, dk, k.begin());
    const std::span<const float> v(row + 2 * c.key_dim() + head * dv, static_cast<size_t>(dv));
    l2_normalize(q);
    l2_normalize(k);
    for (float& value : q) value *= query_scale;
    const float decay = std::exp(-std::exp(w.a_log[head]) * softplus(a[t * heads + head] + w.dt_bias[head]));
    const float beta = sigmoid(b[t * heads + head]);
    delta_rule(s, q, k, v, decay, beta, out.subspan(t * c.value_dim() + head * dv, dv));
  }
}

/// Gated DeltaNet:
///   [q | k | v] = SiLU(conv(in_proj_qkv x)); decay, beta from in_proj_a x, in_proj_b x; delta rule per value head
///   out = out_proj( rms_norm(o) * silu(in_proj_z x) )                x, out [n, hidden]
std::vector<float> gated_delta_net(const ModelConfig& c, const DeltaNetWeights& w, LayerState& state,
                                   std::span<const float> x, ThreadPool& pool, const Product& product) {
  const int64_t n = static_cast<int64_t>(x.size()) / c.hidden_size;
  const int64_t dk = c.linear_key_head_dim;
  const std::vector<float> qkv = conv_with_state(c, w, state, product(w.in_proj_qkv, x));
  const std::vector<float> z = product(w.in_proj_z, x);  // [n, value_dim]
  const std::vector<float> a = product(w.in_proj_a, x);  // [n, num_value_heads]
  const std::vector<float> b = product(w.in_proj_b, x);

  std::vector<float> o(static_cast<size_t>(n * c.value_dim()));
  std::vector<float> buffers(static_cast<size_t>(pool.size() * 2 * dk));  // q and k of one token, for each thread
  parallel_rows(pool, c.linear_num_value_heads, n * 4 * dk * c.linear_value_head_dim,
                [&](int worker, int64_t begin, int64_t end) {
                  const std::span<float> q(buffers.data() + worker * 2 * dk, static_cast<size_t>(dk));
                  const std::span<float> k(q.data() + dk, static_cast<size_t>(dk));
                  for (int64_t head = begin; head < end; ++head) delta_head(c, w, state, head, qkv, a, b, q, k, o);
                });

  std::vector<float> normed = rms_norm_rows(o, w.norm, c.rms_norm_eps);  // per token and head
  for (size_t i = 0; i < normed.size(); ++i) normed[i] *= silu(z[i]);
  return product(w.out_proj, normed);
}

void add(std::span<float> x, std::span<const float> y) { std::ranges::transform(x, y, x.begin(), std::plus<>()); }

}  // namespace

std::vector<float> run_mixer(const ModelConfig& config, const LayerWeights& weights, LayerState& state,
                             int64_t position, std::span<const float> x, ThreadPool& pool, const Product& product) {
  PROSA_CHECK(weights.delta.has_value() != weights.attention.has_value());
  return weights.attention ? gated_attention(config, *weights.attention, state, position, x, pool, product)
                           : gated_delta_net(config, *weights.delta, state, x, pool, product);
}

// down_proj( silu(gate_proj x) * up_proj x )
std::vector<float> run_mlp(const MlpWeights& w, std::span<const float> x, const Product& product) {
  std::vector<float> inner = product(w.gate_proj, x);  // [n, intermediate]
  const std::vector<float> up = product(w.up_proj, x);
  for (size_t i = 0; i < inner.size(); ++i) inner[i] = silu(inner[i]) * up[i];
  return product(w.down_proj, inner);
}

void run_layer(const ModelConfig& config, const LayerWeights& weights, LayerState& state, int64_t position,
               std::vector<float>& x, ThreadPool& pool) {
  const auto product = [&](const Matrix& w, std::span<const float> input) { return linear(w, input, pool); };
  const std::vector<float> mixer_input = rms_norm_rows(x, weights.input_norm, config.rms_norm_eps);
  add(x, run_mixer(config, weights, state, position, mixer_input, pool, product));
  add(x, run_mlp(weights.mlp, rms_norm_rows(x, weights.post_attention_norm, config.rms_norm_eps), product));
}

}  // namespace prosa::backend::reference
