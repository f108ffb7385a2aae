// load_weights: the layer structure of the model laid over the tensors of a folder.
//
// Two conventions exist. Raw files keep RMSNorm weights as w - 1 and conv1d as [channels, 1, kernel]; converted ones
// have the 1 added and [channels, kernel, 1]. After this file the difference is gone. The trunk's convention is decided
// once; the MTP head may come from elsewhere and has its own.
#include <algorithm>
#include <charconv>
#include <numeric>

#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/tensor_set.h"
#include "checkpoint/tied_head.h"
#include "model/for_each_matrix.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

enum class Convention { raw, converted };

constexpr float norm_offset(Convention convention) { return convention == Convention::raw ? 1.0F : 0.0F; }

bool is_conv(std::string_view name) { return name.ends_with("linear_attn.conv1d.weight"); }

/// RMSNorm weights that differ between the conventions. linear_attn.norm is stored as it is in both.
bool is_shifted_norm(std::string_view name) {
  for (const std::string_view suffix : {"input_layernorm.weight", "post_attention_layernorm.weight", "q_norm.weight",
                                        "k_norm.weight", "pre_fc_norm_embedding.weight", "pre_fc_norm_hidden.weight"}) {
    if (name.ends_with(suffix)) return true;
  }
  return name == "norm.weight" || name == "mtp.norm.weight";
}

/// What the conv1d layout says; nothing for [C, K], and for a kernel of 1, where both layouts look the same.
std::optional<Convention> convention_of_conv(const FileTensor& tensor, int64_t kernel) {
  const auto& shape = tensor.entry->shape;
  if (shape.size() != 3 || kernel == 1) return std::nullopt;
  if (shape[1] == 1 && shape[2] == kernel) return Convention::raw;
  if (shape[1] == kernel && shape[2] == 1) return Convention::converted;
  return std::nullopt;
}

/// Trained norm weights lie around 1, so raw ones lie around 0.
Convention convention_of_norms(const TensorSet& set, bool mtp) {
  double sum = 0;
  double count = 0;
  for (const auto& [name, tensor] : set.tensors()) {
    if (!is_shifted_norm(name) || name.starts_with("mtp.") != mtp) continue;
    const std::vector<float> values = set.values(name);
    sum = std::accumulate(values.begin(), values.end(), sum);
    count += static_cast<double>(values.size());
  }
  return count > 0 && sum / count < 0.5 ? Convention::raw : Convention::converted;
}

Convention trunk_convention(const TensorSet& set, int64_t kernel) {
  const FileTensor* witness = nullptr;
  Convention result = Convention::converted;
  for (const auto& [name, tensor] : set.tensors()) {
    if (!is_conv(name)) continue;
    const auto convention = convention_of_conv(tensor, kernel);
    if (!convention) continue;
    if (witness != nullptr && *convention != result) {
      throw Error(ErrorCode::bad_checkpoint,
                  "'" + tensor.entry->name + "' is " + format::shape_string(tensor.entry->shape) + " but '" +
                      witness->entry->name + "' is " + format::shape_string(witness->entry->shape) +
                      ": raw and converted tensors are mixed",
                  tensor.file->path().string(), "use files of one conversion only");
    }
    witness = &tensor;
    result = *convention;
  }
  return witness != nullptr ? result : convention_of_norms(set, false);
}

/// The convention of the file in which the MTP head stands; by the norms themselves when that file has no conv1d.
Convention mtp_convention(const TensorSet& set, int64_t kernel) {
  const format::SafetensorsFile* home = set.require("mtp.norm.weight").file;
  for (const auto& [name, tensor] : set.tensors()) {
    if (tensor.file != home || !is_conv(name)) continue;
    if (const auto convention = convention_of_conv(tensor, kernel)) return *convention;
  }
  return convention_of_norms(set, true);
}

/// Binds names to fields, and adds up the bytes of the vectors, which are copied out of the file.
class Binder {
 public:
  Binder(const TensorSet& set, const ModelConfig& config) : set_(set), config_(config) {}

  LayerWeights layer(const std::string& prefix, LayerType type, Convention convention) {
    const float offset = norm_offset(convention);
    LayerWeights layer;
    layer.input_norm = vector(prefix + "input_layernorm.weight", config_.hidden_size, offset);
    layer.post_attention_norm = vector(prefix + "post_attention_layernorm.weight", config_.hidden_size, offset);
    if (type == LayerType::linear_attention) {
      layer.delta = delta_net(prefix + "linear_attn.");
    } else {
      layer.attention = attention(prefix + "self_attn.", offset);
    }
    for_each_layer_matrix(
        layer, [&](MatrixRole role, Matrix& place) { place = matrix(prefix + std::string(module_name(role)), role); });
    return layer;
  }

  MtpWeights mtp(int64_t layers, Convention convention) {
    const float offset = norm_offset(convention);
    const int64_t hidden = config_.hidden_size;
    MtpWeights mtp;
    mtp.fc = matrix("mtp.fc", MatrixRole::mtp_fc);
    mtp.pre_fc_norm_embedding = vector("mtp.pre_fc_norm_embedding.weight", hidden, offset);
    mtp.pre_fc_norm_hidden = vector("mtp.pre_fc_norm_hidden.weight", hidden, offset);
    for (int64_t i = 0; i < layers; ++i) {
      mtp.layers.push_back(layer("mtp.layers." + std::to_string(i) + ".", LayerType::full_attention, convention));
    }
    mtp.norm = vector("mtp.norm.weight", hidden, offset);
    return mtp;
  }

  [[nodiscard]] Matrix matrix(const std::string& module, MatrixRole role) const {
    const MatrixDims dims = matrix_dims(config_, role);
    return set_.matrix(module, dims.rows, dims.cols);
  }

  std::vector<float> vector(const std::string& name, int64_t size, float offset) {
    vector_bytes_ += static_cast<int64_t>(set_.require(name).entry->bytes);
    return set_.vector(name, size, offset);
  }

  /// What all vectors bound so far take in the file.
  [[nodiscard]] int64_t vector_bytes() const noexcept { return vector_bytes_; }

 private:
  DeltaNetWeights delta_net(const std::string& prefix) {
    const int64_t heads = config_.linear_num_value_heads;
    DeltaNetWeights delta;
    delta.conv1d = conv1d(prefix + "conv1d.weight");
    delta.a_log = vector(prefix + "A_log", heads, 0.0F);
    delta.dt_bias = vector(prefix + "dt_bias", heads, 0.0F);
    delta.norm = vector(prefix + "norm.weight", config_.linear_value_head_dim, 0.0F);
    return delta;
  }

  AttentionWeights attention(const std::string& prefix, float offset) {
    AttentionWeights attention;
    attention.q_norm = vector(prefix + "q_norm.weight", config_.head_dim, offset);
    attention.k_norm = vector(prefix + "k_norm.weight", config_.head_dim, offset);
    return attention;
  }

  /// [C, 1, K], [C, K, 1] and [C, K] hold the same values in the same order.
  std::vector<float> conv1d(const std::string& name) {
    using Shape = std::vector<int64_t>;
    const int64_t channels = config_.conv_dim();
    const int64_t kernel = config_.linear_conv_kernel_dim;
    const FileTensor& tensor = set_.require(name);
    const Shape& shape = tensor.entry->shape;
    const Shape raw{channels, 1, kernel};
    const Shape converted{channels, kernel, 1};
    if (shape != raw && shape != converted && shape != Shape{channels, kernel}) {
      throw_shape(tensor, format::shape_string(raw) + " or " + format::shape_string(converted));
    }
    vector_bytes_ += static_cast<int64_t>(tensor.entry->bytes);
    return set_.values(name);
  }

  const TensorSet& set_;
  const ModelConfig& config_;
  int64_t vector_bytes_ = 0;
};

/// Layers of a complete MTP head; 0 when there is none or parts are missing (it is optional, so that is no error).
int64_t complete_mtp_layers(const TensorSet& set, const ModelConfig& config) {
  for (const char* name :
       {"mtp.fc.weight", "mtp.norm.weight", "mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight"}) {
    if (!set.has(name)) return 0;
  }
  int64_t layers = 0;
  const auto layer_complete = [&](int64_t index) {
    const std::string prefix = "mtp.layers." + std::to_string(index) + ".";
    const auto has = [&](std::string_view name) { return set.has(prefix + std::string(name)); };
    const auto has_matrix = [&](MatrixRole role) { return has(std::string(module_name(role)) + ".weight"); };
    const auto has_vector = [&](VectorRole role) { return has(tensor_name(role)); };
    constexpr LayerType kAttention = LayerType::full_attention;
    return has_vector(VectorRole::input_norm) && has_vector(VectorRole::post_attention_norm) &&
           std::ranges::all_of(mixer_vectors(kAttention), has_vector) &&
           std::ranges::all_of(mixer_matrices(kAttention), has_matrix) &&
           std::ranges::all_of(mlp_matrices(), has_matrix);
  };
  while (layer_complete(layers)) ++layers;
  return config.mtp_num_layers > layers ? 0 : layers;
}

}  // namespace

std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder) {
  auto weights = std::make_shared<Weights>();
  weights->config = read_config(folder);
  ModelConfig& config = weights->config;
  const auto files = std::make_shared<const ModelFiles>(ModelFiles::open(folder));
  config.warnings.insert(config.warnings.end(), files->warnings().begin(), files->warnings().end());
  const TensorSet set(*files, config);
  Binder binder(set, config);

  const Convention convention = trunk_convention(set, config.linear_conv_kernel_dim);
  bind_embedding_and_head(set, *weights);
  weights->layers.reserve(config.layer_types.size());
  for (size_t i = 0; i < config.layer_types.size(); ++i) {
    weights->layers.push_back(binder.layer("layers." + std::to_string(i) + ".", config.layer_types[i], convention));
  }
  weights->norm = binder.vector("norm.weight", config.hidden_size, norm_offset(convention));
  weights->vector_bytes = binder.vector_bytes();

  config.mtp_num_layers = complete_mtp_layers(set, config);
  if (config.mtp_num_layers > 0) {
    weights->mtp = binder.mtp(config.mtp_num_layers, mtp_convention(set, config.linear_conv_kernel_dim));
  }
  weights->storage = files;
  weights->require_intact();
  return weights;
}

std::vector<TensorListing> list_tensors(const std::filesystem::path& folder) {
  const ModelConfig config = read_config(folder);
  const ModelFiles files = ModelFiles::open(folder);
  const TensorSet set(files, config);
  std::vector<TensorListing> listings;
  for (const FileTensor& tensor : files.tensors()) {
    TensorListing listing;
    listing.name = tensor.entry->name;
    listing.file = tensor.file->path().filename().string();
    listing.dtype = to_string(tensor.entry->type);
    listing.shape = tensor.entry->shape;
    listing.bytes = static_cast<int64_t>(tensor.entry->bytes);
    const CanonicalName canonical = canonical_name(listing.name);
    const bool unused = canonical.role == TensorRole::text && !is_model_tensor(canonical.name, config.num_layers);
    listing.role = to_string(unused ? TensorRole::ignored : canonical.role);
    listing.format = set.stated_format(canonical.name);
    listings.push_back(std::move(listing));
  }
  return listings;
}

}  // namespace prosa::checkpoint
