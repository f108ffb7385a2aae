// Loading: matrices go from the mapped file through pinned staging to the card in slabs, and a kernel packs them there
// while the next slab is read. Two slabs are on their way at any time.
#include "backend/cuda/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::backend::cuda {
namespace {

constexpr int64_t kSlabBytes = int64_t{32} << 20;
constexpr int kMaxSlices = 16;     // warps of a block of a product
constexpr int kMaxPairSlices = 8;  // the same where a block has two tile rows

int padded(int64_t n, int to) { return static_cast<int>((n + to - 1) / to * to); }

/// What must agree for matrices to stand in one DeviceMatrix.
struct Kind {
  Format format;
  int bits;
  int group;
  ScaleType scale_type;
  friend bool operator==(const Kind&, const Kind&) = default;
};

Kind kind_of(const Matrix& m) {
  const WeightFormat& f = m.format;
  if (!f.quantized()) return {f.type == DType::bf16 ? Format::bf16 : Format::f32, 0, 0, ScaleType::bf16};
  if (f.coding != WeightCoding::affine)
    throw Error(ErrorCode::unsupported, "weights stored as " + f.name(), m.name, "use --backend cpu");
  if (f.type == DType::f32) return {Format::f32, 0, 0, ScaleType::bf16};  // exact, and rare
  return {Format::quantized, f.bits, f.group_size, f.type == DType::f16 ? ScaleType::f16 : ScaleType::bf16};
}

}  // namespace

/// Uploads one model. Lives as long as loading does.
class Loader {
 public:
  Loader(Model& model, std::shared_ptr<Device> device, int64_t total, const std::function<void(double)>& progress)
      : model_(model), device_(std::move(device)), total_(total), progress_(progress) {
    for (Slab& slab : slabs_) {
      slab.staging = device_->allocate_pinned(kSlabBytes, "staging memory");
      slab.raw = device_->allocate(kSlabBytes, "staging memory");
      check(cudaEventCreateWithFlags(&slab.done, cudaEventDisableTiming), "an event");
    }
  }
  ~Loader() {
    cudaStreamSynchronize(device_->stream());
    for (Slab& slab : slabs_) {
      if (slab.done != nullptr) cudaEventDestroy(slab.done);
    }
  }

  template <typename T>
  const T* upload(const std::vector<T>& values) {
    T* const to = keep(static_cast<int64_t>(values.size() * sizeof(T)))->template as<T>();
    device_->copy(to, values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
    return to;
  }

  /// pairs: two matrices of the same kind and rows, their tile rows in turn.
  Stage stage(const std::vector<const Matrix*>& matrices, bool pairs = false) {
    Stage stage;
    stage.inputs = static_cast<int>(matrices.front()->cols);
    for (size_t i = 0; i < matrices.size();) {
      size_t end = i + 1;
      while (end < matrices.size() && kind_of(*matrices[end]) == kind_of(*matrices[i])) ++end;
      const std::vector<const Matrix*> same(matrices.begin() + static_cast<std::ptrdiff_t>(i),
                                            matrices.begin() + static_cast<std::ptrdiff_t>(end));
      Stage::Part part;
      part.at = stage.width;
      part.matrix = make(same, pairs);
      for (const Matrix* m : same) {
        stage.at.push_back(stage.width);
        stage.width += padded(m->rows, kTileRows);
      }
      stage.parts.push_back(part);
      i = end;
    }
    model_.max_width = std::max(model_.max_width, stage.width);
    model_.max_inputs = std::max(model_.max_inputs, padded(stage.inputs, kTileCols));
    return stage;
  }

  /// The f16 form of a stage's matrices, for passes of many rows.
  void expand(Stage& stage) {
    for (Stage::Part& part : stage.parts) {
      DeviceMatrix& m = part.matrix;
      void* const to = keep(f16_bytes(m))->as();
      launch_expand(device_->stream(), m, to);
      m.expanded = to;
    }
  }
  static int64_t f16_bytes(const DeviceMatrix& m) { return int64_t{2} * padded(m.rows, 64) * m.k_tiles * kTileCols; }

 private:
  struct Slab {
    MemoryPtr staging;
    MemoryPtr raw;
    cudaEvent_t done = nullptr;
  };

  MemoryPtr keep(int64_t bytes) {
    model_.memory_.push_back(device_->allocate(bytes, "the weights"));
    model_.weight_bytes += bytes;
    return model_.memory_.back();
  }

  /// A slice is what a warp has in flight at once, where a block has room for so many warps.
  static void slice(DeviceMatrix& m, bool pairs) {
    const int most = pairs ? kMaxPairSlices : kMaxSlices;
    m.per_slice = 4;
    while ((m.k_tiles + m.per_slice - 1) / m.per_slice > most) m.per_slice += 4;
    m.slices = (m.k_tiles + m.per_slice - 1) / m.per_slice;
  }

  DeviceMatrix make(const std::vector<const Matrix*>& matrices, bool pairs) {
    const Kind kind = kind_of(*matrices.front());
    DeviceMatrix m;
    m.format = kind.format;
    m.bits = kind.bits;
    m.group = kind.group;
    m.scale_type = kind.scale_type;
    m.cols = static_cast<int>(matrices.front()->cols);
    m.k_tiles = padded(m.cols, kTileCols) / kTileCols;
    slice(m, pairs);
    for (const Matrix* matrix : matrices) m.rows += padded(matrix->rows, kTileRows);
    const int64_t elements = static_cast<int64_t>(m.rows) * m.k_tiles * kTileCols;
    if (m.format == Format::quantized) {
      const int64_t groups = (static_cast<int64_t>(m.k_tiles) * kTileCols + m.group - 1) / m.group;
      m.planes = keep(elements * m.bits / 8)->as<uint8_t>();
      m.scales = keep(m.rows * groups * 4)->as<uint32_t>();
    } else {
      const int64_t bytes = elements * (m.format == Format::bf16 ? 2 : 4);
      m.dense = keep(bytes)->as();
      device_->clear(const_cast<void*>(m.dense), bytes);
    }
    model_.largest_expanded = std::max(model_.largest_expanded, f16_bytes(m));
    int first_row = 0;
    for (size_t i = 0; i < matrices.size(); ++i) {
      fill(*matrices[i], m, pairs ? static_cast<int>(i) * kTileRows : first_row, pairs ? 2 : 1);
      first_row += padded(matrices[i]->rows, kTileRows);
    }
    return m;
  }

  /// The rows of one matrix, slab by slab.
  void fill(const Matrix& source, const DeviceMatrix& m, int first_row, int tile_step) {
    const int64_t row_bytes = source.format.row_bytes(source.cols);
    const int64_t scale_bytes =
        source.quantized() ? source.groups() * static_cast<int64_t>(dtype_size(source.format.type)) : 0;
    const int64_t each = row_bytes + 2 * scale_bytes;
    const int64_t fit = (kSlabBytes - 1024) / each / kTileRows * kTileRows;
    PROSA_CHECK(fit > 0);
    for (int64_t row = 0; row < source.rows; row += fit) {
      const int64_t rows = std::min(fit, source.rows - row);
      Slab& slab = slabs_[next_++ % 2];
      check(cudaEventSynchronize(slab.done), "loading weights");
      const int64_t scales_at = (rows * row_bytes + 255) / 256 * 256;
      const int64_t biases_at = (scales_at + rows * scale_bytes + 255) / 256 * 256;
      auto* const to = slab.staging->as<std::byte>();
      std::memcpy(to, source.data + row * row_bytes, static_cast<size_t>(rows * row_bytes));
      if (scale_bytes > 0) {
        std::memcpy(to + scales_at, source.scales + row * scale_bytes, static_cast<size_t>(rows * scale_bytes));
        std::memcpy(to + biases_at, source.biases + row * scale_bytes, static_cast<size_t>(rows * scale_bytes));
      }
      device_->copy(slab.raw->as(), to, scale_bytes > 0 ? biases_at + rows * scale_bytes : rows * row_bytes);
      const auto* const raw = slab.raw->as<uint8_t>();
      const int at = first_row + static_cast<int>(row) * tile_step;
      const int count = static_cast<int>(rows);
      if (!source.quantized()) {
        const int type = source.format.type == DType::bf16 ? 0 : source.format.type == DType::f16 ? 1 : 2;
        launch_pack_dense(device_->stream(), raw, type, count, m, at, tile_step);
      } else if (m.format == Format::quantized) {
        launch_pack(device_->stream(), raw, reinterpret_cast<const uint16_t*>(raw + scales_at),
                    reinterpret_cast<const uint16_t*>(raw + biases_at), count, m, at, tile_step);
      } else {
        launch_pack_exact(device_->stream(), raw, reinterpret_cast<const float*>(raw + scales_at),
                          reinterpret_cast<const float*>(raw + biases_at), source.format.bits, source.format.group_size,
                          count, m, at, tile_step);
      }
      check(cudaEventRecord(slab.done, device_->stream()), "loading weights");
      done_ += rows * each;
      if (progress_) progress_(std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)));
    }
  }

  Model& model_;
  std::shared_ptr<Device> device_;
  int64_t total_;
  int64_t done_ = 0;
  const std::function<void(double)>& progress_;
  Slab slabs_[2];
  size_t next_ = 0;
};

namespace {

/// The file's [channels, kernel] as [kernel][channels], neighbours side by side.
std::vector<float> turned(const std::vector<float>& conv, int64_t channels, int64_t kernel) {
  std::vector<float> out(conv.size());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < kernel; ++t)
      out[static_cast<size_t>(t * channels + c)] = conv[static_cast<size_t>(c * kernel + t)];
  }
  return out;
}

DeltaShape delta_shape(const ModelConfig& c) {
  DeltaShape s;
  s.key_heads = static_cast<int>(c.linear_num_key_heads);
  s.value_heads = static_cast<int>(c.linear_num_value_heads);
  s.key_dim = static_cast<int>(c.linear_key_head_dim);
  s.value_dim = static_cast<int>(c.linear_value_head_dim);
  s.kernel = static_cast<int>(c.linear_conv_kernel_dim);
  s.value_tiles = padded(s.value_dim, kStateColumns) / kStateColumns;
  s.conv_dim = static_cast<int>(c.conv_dim());
  return s;
}

AttentionShape attention_shape(const ModelConfig& c) {
  AttentionShape s;
  s.heads = static_cast<int>(c.num_attention_heads);
  s.kv_heads = static_cast<int>(c.num_key_value_heads);
  s.head_dim = static_cast<int>(c.head_dim);
  s.rotary_dim = static_cast<int>(c.rotary_dim);
  s.layer_stride = int64_t{2} * s.kv_heads * kKvSpan * s.head_dim;
  s.eps = c.rms_norm_eps;
  return s;
}

}  // namespace

Model::Model(std::shared_ptr<Device> device, const Weights& weights, const std::function<void(double)>& progress)
    : config(weights.config), delta(delta_shape(weights.config)), attention(attention_shape(weights.config)) {
  device->use();
  for (const int64_t width : {config.hidden_size, config.intermediate_size, config.value_dim(), config.query_dim()}) {
    if (width % 4 == 0 && width <= 32768) continue;
    throw Error(ErrorCode::unsupported,
                "a width of " + std::to_string(width) + " columns, which is no multiple of 4 or beyond 32,768",
                "config.json", "use --backend cpu");
  }
  if (config.head_dim > 256 || config.head_dim % 8 != 0 || config.linear_key_head_dim > 256) {
    throw Error(
        ErrorCode::unsupported,
        "heads of " + std::to_string(config.head_dim) + " and " + std::to_string(config.linear_key_head_dim) + " dims",
        "config.json", "use --backend cpu");
  }
  const int64_t dims = config.head_dim <= 32    ? 1
                       : config.head_dim <= 64  ? 2
                       : config.head_dim <= 128 ? 4
                                                : 8;  // a lane's
  if (config.head_dim % dims != 0 || config.rotary_dim / 2 % dims != 0) {
    throw Error(ErrorCode::unsupported,
                "a rotary part of " + std::to_string(config.rotary_dim) + " dims of " + std::to_string(config.head_dim),
                "config.json", "use --backend cpu");
  }
  if (config.linear_conv_kernel_dim < 2 || config.linear_conv_kernel_dim > 4) {
    throw Error(ErrorCode::unsupported, "a convolution of " + std::to_string(config.linear_conv_kernel_dim) + " taps",
                "config.json", "use --backend cpu");
  }
  Loader loader(*this, device, weights.byte_size(), progress);
  conv_elements = static_cast<int64_t>(delta.kernel) * delta.conv_dim;
  const int64_t matrices = static_cast<int64_t>(delta.value_heads) * delta.value_tiles * delta.key_dim * kStateColumns;
  const int64_t of_layer = (conv_elements + 63) / 64 * 64 + matrices;

  head = loader.stage({&weights.lm_head});
  embedding = weights.config.tie_word_embeddings ? head.parts.front().matrix
                                                 : loader.stage({&weights.embed_tokens}).parts.front().matrix;
  max_width = 0;  // a row of logits stands elsewhere, and the head is never expanded
  largest_expanded = 0;
  norm = loader.upload(weights.norm);
  std::vector<double> frequencies;
  for (int i = 0; i < attention.rotary_dim / 2; ++i)
    frequencies.push_back(std::pow(config.rope_theta, -2.0 * i / attention.rotary_dim));
  frequency = loader.upload(frequencies);

  std::vector<DeltaLayer> small;
  for (const LayerWeights& source : weights.layers) {
    ModelLayer layer;
    layer.input_norm = loader.upload(source.input_norm);
    layer.post_norm = loader.upload(source.post_attention_norm);
    if (source.delta) {
      const DeltaNetWeights& w = *source.delta;
      layer.delta = true;
      layer.mixer = delta_count++;
      layer.in = loader.stage({&w.in_proj_qkv, &w.in_proj_z, &w.in_proj_b, &w.in_proj_a});
      layer.out = loader.stage({&w.out_proj});
      layer.delta_norm = loader.upload(w.norm);
      delta.z_at = layer.in.at[1], delta.b_at = layer.in.at[2], delta.a_at = layer.in.at[3];
      DeltaLayer d;
      d.conv = loader.upload(turned(w.conv1d, delta.conv_dim, delta.kernel));
      std::vector<float> rate(w.a_log.size());
      std::transform(w.a_log.begin(), w.a_log.end(), rate.begin(), [](float a) { return std::exp(a); });
      d.rate = loader.upload(rate);
      d.dt_bias = loader.upload(w.dt_bias);
      d.norm = layer.delta_norm;
      d.conv_at = static_cast<int64_t>(small.size()) * of_layer;
      d.matrix_at = d.conv_at + of_layer - matrices;
      small.push_back(d);
    } else {
      const AttentionWeights& w = *source.attention;
      layer.mixer = attention_count++;
      layer.in = loader.stage({&w.q_proj, &w.k_proj, &w.v_proj});
      layer.out = loader.stage({&w.o_proj});
      layer.q_norm = loader.upload(w.q_norm);
      layer.k_norm = loader.upload(w.k_norm);
      attention.k_at = layer.in.at[1], attention.v_at = layer.in.at[2];
    }
    const MlpWeights& mlp = source.mlp;
    layer.pairs = kind_of(mlp.gate_proj) == kind_of(mlp.up_proj);
    layer.gate_up = loader.stage({&mlp.gate_proj, &mlp.up_proj}, layer.pairs);
    layer.down = loader.stage({&mlp.down_proj});
    layers.push_back(std::move(layer));
  }
  if (!small.empty()) delta_layers = loader.upload(small);
  state_elements = delta_count * of_layer;
  kv_block_bytes = attention_count * attention.layer_stride * 2;
  delta.stride = max_width;
  attention.stride = max_width;

  // With room to spare the layers stand there in f16 too, and passes of many rows need not unpack them.
  int64_t bytes = 0;
  for (const ModelLayer& layer : layers) {
    for (const Stage* stage : {&layer.in, &layer.out, &layer.gate_up, &layer.down}) {
      for (const Stage::Part& part : stage->parts) bytes += Loader::f16_bytes(part.matrix);
    }
  }
  expanded = bytes * 4 < device->free_bytes();
  if (expanded) {
    for (ModelLayer& layer : layers) {
      for (Stage* stage : {&layer.in, &layer.out, &layer.gate_up, &layer.down}) loader.expand(*stage);
    }
  }
}

}  // namespace prosa::backend::cuda
