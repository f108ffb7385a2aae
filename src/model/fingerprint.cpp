// Dimensions, every vector, and of every matrix its form and kSamples places.
#include "model/fingerprint.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace prosa {
namespace {

constexpr int64_t kSamples = 8;
constexpr int64_t kSampleBytes = 256;

class Fingerprint {
 public:
  Fingerprint() { XXH3_64bits_reset(&state_); }
  void add(const void* data, size_t bytes) { XXH3_64bits_update(&state_, data, bytes); }
  void add(int64_t number) { add(&number, sizeof number); }
  void add(const std::vector<float>& values) {
    add(static_cast<int64_t>(values.size()));
    add(values.data(), values.size() * sizeof(float));
  }
  void add(const Matrix& matrix) {
    for (const int64_t number : {matrix.rows, matrix.cols, static_cast<int64_t>(matrix.bits),
                                 static_cast<int64_t>(matrix.group_size), static_cast<int64_t>(matrix.dtype)}) {
      add(number);
    }
    const auto scales = matrix.groups() * matrix.rows * static_cast<int64_t>(dtype_size(matrix.scale_dtype));
    sample(matrix.data, matrix.byte_size() - 2 * scales);
    sample(matrix.scales, scales);
    sample(matrix.biases, scales);
  }
  [[nodiscard]] uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  void sample(const std::byte* data, int64_t bytes) {
    if (data == nullptr || bytes == 0) return;
    const int64_t width = std::min(bytes, kSampleBytes);
    for (int64_t i = 0; i < kSamples; ++i) add(data + (bytes - width) / (kSamples - 1) * i, static_cast<size_t>(width));
  }
  XXH3_state_t state_;
};

}  // namespace

uint64_t fingerprint(const Weights& weights) {
  const ModelConfig& c = weights.config;
  Fingerprint print;
  for (const int64_t number :
       {c.vocab_size, c.hidden_size, c.intermediate_size, c.num_layers, c.num_attention_heads, c.num_key_value_heads,
        c.head_dim, c.rotary_dim, c.linear_num_key_heads, c.linear_num_value_heads, c.linear_key_head_dim,
        c.linear_value_head_dim, c.linear_conv_kernel_dim}) {
    print.add(number);
  }
  print.add(&c.rope_theta, sizeof c.rope_theta);
  print.add(&c.rms_norm_eps, sizeof c.rms_norm_eps);
  print.add(weights.embed_tokens);
  print.add(weights.lm_head);
  print.add(weights.norm);
  for (const LayerWeights& layer : weights.layers) {
    print.add(layer.input_norm);
    print.add(layer.post_attention_norm);
    for (const Matrix* matrix : {&layer.mlp.gate_proj, &layer.mlp.up_proj, &layer.mlp.down_proj}) print.add(*matrix);
    if (layer.delta) {
      const DeltaNetWeights& d = *layer.delta;
      for (const Matrix* matrix : {&d.in_proj_qkv, &d.in_proj_z, &d.in_proj_b, &d.in_proj_a, &d.out_proj}) {
        print.add(*matrix);
      }
      for (const std::vector<float>* values : {&d.conv1d, &d.a_log, &d.dt_bias, &d.norm}) print.add(*values);
    }
    if (layer.attention) {
      const AttentionWeights& a = *layer.attention;
      for (const Matrix* matrix : {&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj}) print.add(*matrix);
      for (const std::vector<float>* values : {&a.q_norm, &a.k_norm}) print.add(*values);
    }
  }
  return print.value();
}

}  // namespace prosa
