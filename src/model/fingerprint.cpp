// Dimensions, every vector, and of every matrix its form and kSamples places.
#include "model/fingerprint.h"

#include <algorithm>

#include "model/for_each_matrix.h"
#include "model/mapped.h"

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
    // Files of earlier versions carry this number: what it is made of stays as it was, whatever a WeightFormat holds.
    const WeightFormat& format = matrix.format;
    const int64_t bits = format.quantized() ? format.bits : 0;
    const auto dense_type = static_cast<int64_t>(format.quantized() ? DType::bf16 : format.type);
    for (const int64_t number : {matrix.rows, matrix.cols, bits, static_cast<int64_t>(format.group_size), dense_type}) {
      add(number);
    }
    if (format.has_small_floats()) add(static_cast<int64_t>(format.coding));
    const auto scales = matrix.groups() * matrix.rows * format.scale_bytes();
    sample(matrix.data, matrix.rows * format.row_bytes(matrix.cols));
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
  const auto add = [&](const Matrix& matrix) {
    print.add(matrix);
    release_if_mapped(weights, matrix);  // a look at one place brings many pages around it into the process
  };
  add(weights.embed_tokens);
  add(weights.lm_head);  // a tied head, too, and the MLP before the mixer: the order is part of the number
  print.add(weights.norm);
  for (const LayerWeights& layer : weights.layers) {
    print.add(layer.input_norm);
    print.add(layer.post_attention_norm);
    for (const MatrixRole role : mlp_matrices()) add(matrix_of(layer, role));
    for (const MatrixRole role : mixer_matrices(layer_type(layer))) add(matrix_of(layer, role));
    for (const VectorRole role : mixer_vectors(layer_type(layer))) print.add(vector_of(layer, role));
  }
  return print.value();
}

}  // namespace prosa
