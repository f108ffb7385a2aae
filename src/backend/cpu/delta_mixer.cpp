// Gated DeltaNet, a layer's mixer. Part of Forward.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "backend/cpu/forward.h"

namespace prosa::backend::cpu {
namespace {
constexpr size_t kMaxConvTaps = 64;  // read_config() admits no larger kernel
constexpr int64_t kRowsAhead = 3;    // of the convolution's inputs, asked for early
}  // namespace

// h += out_proj(gated_norm(delta_rule(conv(qkv)), z)). Work is split by key heads: the channels, gates and matrices of
// a key head and of the value heads it serves belong to one worker from the convolution to the norm.
void Forward::delta_mixer(int worker, const Pass& pass, const PackedLayer& layer, size_t delta_index) {
  const PackedDeltaNet& weights = *layer.delta;
  const int64_t rows = pass.rows();
  products(worker, rows, config_.hidden_size, normed(layer.input_norm),
           {{weights.qkv, work_.qkv.data(), work_.conv_width},
            {weights.z, work_.z.data(), work_.value_width},
            {weights.b, work_.b.data(), work_.head_width},
            {weights.a, work_.a.data(), work_.head_width}});
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::delta_projections);

  const uint32_t stage = next_stage(worker);
  const int64_t key_heads = config_.linear_num_key_heads;
  for (Range mine = items_.take(stage, worker, key_heads, 1); mine.begin < mine.end && !given_up();
       mine = items_.take(stage, worker, key_heads, 1)) {
    delta_key_head(worker, pass, weights, delta_index, mine.begin);
  }
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::delta_rule);
  mixed_product(worker, rows, config_.linear_num_value_heads, config_.linear_value_head_dim, weights.out);
  if (worker == 0) clock_.lap(Stage::delta_projections);
}

void Forward::mixed_product(int worker, int64_t rows, int64_t heads, int64_t head_dim, const PackedMatrix& weights) {
  const Product product{weights, work_.hidden.data(), work_.hidden_width, true};
  if (rows > kOwnRows && hands_over(weights, head_dim)) return multiply(worker, rows, work_.shared, {product});
  const auto fill = [&](int64_t row, float* out) {
    std::copy_n(work_.mixed.data() + row * work_.mixed_width, heads * head_dim, out);
  };
  products(worker, rows, heads * head_dim, fill, {product});
}

// From the convolution to the gated norm, for one key head and the value heads it serves, all rows.
void Forward::delta_key_head(int worker, const Pass& pass, const PackedDeltaNet& weights, size_t delta_index,
                             int64_t key_head) {
  const int64_t rows = pass.rows();
  const int64_t key_dim = config_.linear_key_head_dim;
  const int64_t value_dim = config_.linear_value_head_dim;
  const int64_t served = config_.linear_num_value_heads / config_.linear_num_key_heads;
  const int64_t q = key_head * key_dim;
  const int64_t k = config_.key_dim() + q;
  const int64_t v = 2 * config_.key_dim() + key_head * served * value_dim;
  float* const mine = work_.channels[static_cast<size_t>(worker)].data();
  convolve(pass, weights, delta_index, {q, q + key_dim}, mine);
  convolve(pass, weights, delta_index, {k, k + key_dim}, mine + key_dim);
  convolve(pass, weights, delta_index, {v, v + served * value_dim}, mine + 2 * key_dim);
  const float q_factor = 1.0F / std::sqrt(static_cast<float>(key_dim));
  for (int64_t row = 0; row < rows; ++row) {
    float* channels = mine + row * work_.channels_width;
    kernels_.l2_norm(channels, key_dim, q_factor);
    kernels_.l2_norm(channels + key_dim, key_dim, 1.0F);
  }
  for (int64_t head = key_head * served; head < (key_head + 1) * served; ++head) {
    gates(pass, weights, head);
    for (const PassSegment& segment : pass.segments()) delta_rule(worker, segment, delta_index, key_head, head);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = head * value_dim;
      float* const out = work_.mixed.data() + row * work_.mixed_width + at;
      kernels_.gated_norm(out, weights.norm.data(), work_.z.data() + row * work_.value_width + at, value_dim,
                          config_.rms_norm_eps);
      if (rows > kOwnRows && hands_over(weights.out, value_dim))
        work_.shared.quantize(kernels_, row, at, {out, static_cast<size_t>(value_dim)}, weights.out.input());
    }
  }
}

// The causal convolution of these channels for all rows, which lie channels_width apart in `out`; each state keeps the
// newest kernel - 1 inputs.
void Forward::convolve(const Pass& pass, const PackedDeltaNet& weights, size_t delta_index, Range channels,
                       float* out) {
  for (const PassSegment& segment : pass.segments()) convolve_segment(segment, weights, delta_index, channels, out);
}

void Forward::convolve_segment(const PassSegment& segment, const PackedDeltaNet& weights, size_t delta_index,
                               Range channels, float* out) {
  const int64_t dim = config_.conv_dim();  // of the weights and the state
  const int64_t past = config_.linear_conv_kernel_dim - 1;
  const int64_t width = channels.end - channels.begin;
  const DeltaState& state = segment.state->delta[delta_index];
  const float* const inputs = work_.qkv.data() + segment.begin * work_.conv_width + channels.begin;
  const float* const found = state.conv_found.data() + channels.begin;
  float* const to = out + segment.begin * work_.channels_width;
  std::array<const float*, kMaxConvTaps> taps;  // [past + 1]
  for (int64_t row = 0; row < segment.count(); ++row) {
    for (int64_t tap = 0; tap <= past; ++tap) {
      const int64_t back = past - tap;
      taps[static_cast<size_t>(tap)] =
          back <= row ? inputs + (row - back) * work_.conv_width : found + (past + row - back) * dim;
    }
    // Rows are too far apart for the processor to see where the next one will be.
    const float* ahead = inputs + std::min(row + kRowsAhead, segment.count() - 1) * work_.conv_width;
    for (int64_t c = 0; c < width; c += 16) __builtin_prefetch(ahead + c);
    kernels_.conv_silu(weights.conv.data() + channels.begin, dim, taps.data(), past + 1, width,
                       to + row * work_.channels_width);
  }
  float* const left = state.conv.data() + channels.begin;
  for (int64_t slot = 0; slot < past; ++slot) {  // slot takes the input `past - slot` tokens before the next one
    const int64_t row = segment.count() - (past - slot);
    const float* source = row >= 0 ? inputs + row * work_.conv_width : found + (slot + segment.count()) * dim;
    std::memmove(left + slot * dim, source, static_cast<size_t>(width) * sizeof(float));
  }
  for (int64_t row = 0; segment.tentative && row < segment.count(); ++row)
    std::copy_n(inputs + row * work_.conv_width, width, segment.state->kept.conv(delta_index, row) + channels.begin);
}

// beta = sigmoid(b), g = -exp(A_log) * softplus(a + dt_bias), in place.
void Forward::gates(const Pass& pass, const PackedDeltaNet& weights, int64_t head) {
  const auto index = static_cast<size_t>(head);
  for (int64_t row = 0; row < pass.rows(); ++row) {
    float& beta = work_.b[row * work_.head_width + head];
    float& log_decay = work_.a[row * work_.head_width + head];
    beta = 1.0F / (1.0F + std::exp(-beta));
    const float x = log_decay + weights.dt_bias[index];
    const float softplus = x > 20.0F ? x : std::log1p(std::exp(x));
    log_decay = -weights.decay_rate[index] * softplus;
  }
}

void Forward::delta_rule(int worker, const PassSegment& segment, size_t delta_index, int64_t key_head, int64_t head) {
  const int64_t key_dim = config_.linear_key_head_dim;
  const int64_t value_dim = config_.linear_value_head_dim;
  const int64_t served = config_.linear_num_value_heads / config_.linear_num_key_heads;
  const DeltaState& state = segment.state->delta[delta_index];
  const int64_t matrix = head * value_dim * key_dim;
  DeltaArgs args;
  args.ld = work_.channels_width;
  args.ld_gate = work_.head_width;
  args.ld_out = work_.mixed_width;
  args.key_dim = key_dim;
  args.value_dim = value_dim;
  args.scratch = work_.scratch[static_cast<size_t>(worker)].data();
  args.state = state.recurrent.data() + matrix;
  if (state.moves()) std::copy_n(state.recurrent_found.data() + matrix, value_dim * key_dim, args.state);
  const int64_t step = segment.stepwise() ? 1 : kDeltaChunk;
  for (int64_t token = 0; token < segment.count(); token += step) {
    const int64_t row = segment.begin + token;
    const float* channels = work_.channels[static_cast<size_t>(worker)].data() + row * args.ld;
    args.q = channels;
    args.k = channels + key_dim;
    args.v = channels + 2 * key_dim + (head - key_head * served) * value_dim;
    args.log_decay = work_.a.data() + row * args.ld_gate + head;
    args.beta = work_.b.data() + row * args.ld_gate + head;
    args.out = work_.mixed.data() + row * args.ld_out + head * value_dim;
    args.tokens = std::min(step, segment.count() - token);
    if (segment.tentative) keep_inputs(segment, delta_index, token, head, args);
    if (args.tokens == 1)
      kernels_.delta_step(args);
    else
      kernels_.delta_chunk(args);
  }
}

// ---- tentative segments

/// What replay() needs of a token for a value head; the keys once for the heads they serve.
void Forward::keep_inputs(const PassSegment& segment, size_t delta_index, int64_t token, int64_t head,
                          const DeltaArgs& args) {
  const int64_t served = config_.linear_num_value_heads / config_.linear_num_key_heads;
  KeptInputs& kept = segment.state->kept;
  if (head % served == 0)
    std::copy_n(args.k, args.key_dim, kept.key(delta_index, token) + head / served * args.key_dim);
  std::copy_n(args.v, args.value_dim, kept.value(delta_index, token) + head * args.value_dim);
  kept.log_decay(delta_index, token)[head] = *args.log_decay;
  kept.beta(delta_index, token)[head] = *args.beta;
}

void Forward::replay(CpuState& state, int64_t n) const {
  const int64_t dim = config_.conv_dim();
  const int64_t past = config_.linear_conv_kernel_dim - 1;
  const int64_t key_dim = config_.linear_key_head_dim;
  const int64_t value_dim = config_.linear_value_head_dim;
  const int64_t served = config_.linear_num_value_heads / config_.linear_num_key_heads;
  std::vector<float> out(static_cast<size_t>(value_dim));  // what the tokens read: known already
  for (size_t layer = 0; layer < state.delta.size(); ++layer) {
    const DeltaState& delta = state.delta[layer];
    for (int64_t slot = 0; slot < past; ++slot) {  // as in convolve_segment()
      const int64_t token = n - (past - slot);
      const float* source = token >= 0 ? state.kept.conv(layer, token) : delta.conv_found.data() + (slot + n) * dim;
      std::copy_n(source, dim, delta.conv.data() + slot * dim);
    }
    for (int64_t head = 0; head < config_.linear_num_value_heads; ++head) {
      DeltaArgs args;
      args.state = delta.recurrent.data() + head * value_dim * key_dim;
      args.key_dim = key_dim;
      args.value_dim = value_dim;
      args.tokens = 1;
      args.out = out.data();
      std::copy_n(delta.recurrent_found.data() + head * value_dim * key_dim, value_dim * key_dim, args.state);
      for (int64_t token = 0; token < n; ++token) {
        args.k = state.kept.key(layer, token) + head / served * key_dim;
        args.q = args.k;  // any: the state does not depend on it
        args.v = state.kept.value(layer, token) + head * value_dim;
        args.log_decay = state.kept.log_decay(layer, token) + head;
        args.beta = state.kept.beta(layer, token) + head;
        kernels_.delta_step(args);
      }
    }
  }
}

}  // namespace prosa::backend::cpu
