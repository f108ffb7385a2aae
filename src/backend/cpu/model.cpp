// Packing a checkpoint's weights layer by layer.
#include "backend/cpu/model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/for_each_matrix.h"
#include "model/mapped.h"
#include "prosa/error.h"

namespace prosa::backend::cpu {
namespace {

constexpr int kMaxOnePlaneBits = 6;  // of weights whose activations have 8 bits where nothing else is asked for

/// What a matrix is multiplied with: rows of the stream behind a norm, or what has passed a gate, one channel at a
/// time, and so has long tails: the inputs of out_proj, o_proj and down_proj. In one plane those tails cost more than
/// all the rest (docs/reference/numerics.md).
enum class Inputs { normed, gated };

class Packer {
 public:
  Packer(const Weights& weights, ThreadPool& pool, uint8_t* place, int64_t total_bytes, int activation_bits,
         const std::function<void(double)>& progress)
      : weights_(weights),
        pool_(pool),
        place_(place),
        total_(total_bytes),
        activation_bits_(activation_bits),
        progress_(progress) {}

  std::array<bool, 3> planes{};  // PackedModel

  PackedMatrix matrix(const Matrix& source, Inputs inputs = Inputs::normed) {
    PackedMatrix packed = pack_in_parts(source);
    packed.planes = planes_for(packed.bits, inputs);
    if (inputs == Inputs::normed) planes[static_cast<size_t>(packed.input().planes)] = true;
    done_ += packed.byte_size();
    if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
    return packed;
  }

  static AlignedBuffer<float> vector(const std::vector<float>& source) {
    AlignedBuffer<float> buffer(padded(static_cast<int64_t>(source.size())), "a norm");
    std::copy(source.begin(), source.end(), buffer.data());
    return buffer;
  }

  PackedDeltaNet delta(const DeltaNetWeights& source, const ModelConfig& config) {
    PackedDeltaNet packed;
    packed.qkv = matrix(source.in_proj_qkv);
    packed.z = matrix(source.in_proj_z);
    packed.b = matrix(source.in_proj_b);
    packed.a = matrix(source.in_proj_a);
    packed.out = matrix(source.out_proj, Inputs::gated);
    const int64_t taps = config.linear_conv_kernel_dim;
    packed.conv = AlignedBuffer<float>(taps * config.conv_dim(), "conv1d");
    for (int64_t channel = 0; channel < config.conv_dim(); ++channel) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        packed.conv[tap * config.conv_dim() + channel] = source.conv1d[static_cast<size_t>(channel * taps + tap)];
      }
    }
    for (float value : source.a_log) packed.decay_rate.push_back(std::exp(value));
    packed.dt_bias = source.dt_bias;
    packed.norm = vector(source.norm);
    return packed;
  }

  PackedAttention attention(const AttentionWeights& source) {
    PackedAttention packed;
    packed.q = matrix(source.q_proj);
    packed.k = matrix(source.k_proj);
    packed.v = matrix(source.v_proj);
    packed.out = matrix(source.o_proj, Inputs::gated);
    packed.q_norm = vector(source.q_norm);
    packed.k_norm = vector(source.k_norm);
    return packed;
  }

  PackedLayer layer(const LayerWeights& source, const ModelConfig& config) {
    PackedLayer packed;
    packed.input_norm = vector(source.input_norm);
    if (source.delta) packed.delta = delta(*source.delta, config);
    if (source.attention) packed.attention = attention(*source.attention);
    packed.post_attention_norm = vector(source.post_attention_norm);
    packed.gate = matrix(source.mlp.gate_proj);
    packed.up = matrix(source.mlp.up_proj);
    packed.down = matrix(source.mlp.down_proj, Inputs::gated);
    return packed;
  }

 private:
  /// One plane's rounding drowns in that of weights of a few bits.
  [[nodiscard]] int planes_for(int weight_bits, Inputs inputs) const {
    const int bits = activation_bits_ != 0 ? activation_bits_ : weight_bits <= kMaxOnePlaneBits ? 8 : 15;
    return bits == 15 || inputs == Inputs::gated ? 2 : 1;
  }

  /// The process need not hold the matrix twice: part by part the packed one takes the place of the file's.
  PackedMatrix pack_in_parts(const Matrix& source) {
    constexpr int64_t kPartBytes = int64_t{16} << 20;
    const int64_t row_bytes = std::max<int64_t>(source.byte_size() / source.rows, 1);
    const int64_t rows = std::max<int64_t>(kPartBytes / row_bytes / kTileRows, 1) * kTileRows;
    PackedMatrix whole;
    for (int64_t begin = 0; begin < source.rows; begin += rows) {
      const Matrix part = rows_of(source, begin, std::min(source.rows, begin + rows));
      PackedMatrix packed = pack(part, pool_, place_ + done_ + begin / kTileRows * whole.tile_bytes);
      release_if_mapped(weights_, part);
      if (begin == 0) whole = std::move(packed);
    }
    whole.rows = source.rows;
    return whole;
  }

  static Matrix rows_of(const Matrix& matrix, int64_t begin, int64_t end) {
    const int64_t scales = matrix.groups() * matrix.format.scale_bytes();
    Matrix part = matrix;
    part.rows = end - begin;
    part.data += begin * matrix.format.row_bytes(matrix.cols);
    if (scales > 0) part.scales += begin * scales;
    if (matrix.format.has_biases()) part.biases += begin * scales;
    return part;
  }

  const Weights& weights_;
  ThreadPool& pool_;
  uint8_t* place_;
  int64_t total_;
  int activation_bits_;
  int64_t done_ = 0;
  const std::function<void(double)>& progress_;
};

void require_multiple_of_16(int64_t value, const char* key) {
  if (value % 16 == 0) return;
  throw Error(ErrorCode::unsupported,
              std::string(key) + " is " + std::to_string(value) + ", the cpu backend needs a multiple of 16",
              "config.json", "use --backend reference");
}

}  // namespace

PackedModel pack_model(const Weights& weights, ThreadPool& pool, int activation_bits,
                       const std::function<void(double)>& progress) {
  const ModelConfig& config = weights.config;
  require_multiple_of_16(config.head_dim, "head_dim");
  require_multiple_of_16(config.linear_key_head_dim, "linear_key_head_dim");
  require_multiple_of_16(config.linear_value_head_dim, "linear_value_head_dim");

  PackedModel model;
  model.config = config;
  int64_t bytes = 0;
  for_each_matrix(weights, [&](const MatrixPlace&, const Matrix& matrix) { bytes += packed_bytes(matrix); });
  model.matrices = AlignedBuffer<uint8_t>(bytes, "the weights");
  Packer packer(weights, pool, model.matrices.data(), bytes, activation_bits, progress);
  model.embed = packer.matrix(weights.embed_tokens);
  size_t deltas = 0;
  size_t attentions = 0;
  for (const LayerWeights& layer : weights.layers) {
    model.layers.push_back(packer.layer(layer, config));
    model.layers.back().of_kind = layer.delta ? deltas++ : attentions++;
  }
  model.norm = Packer::vector(weights.norm);
  if (!weights.tied_head()) model.lm_head = packer.matrix(weights.lm_head);
  model.planes = packer.planes;
  return model;
}

}  // namespace prosa::backend::cpu
