// From Weights to the list of a conversion.
#include "checkpoint/convert_tensors.h"

#include <algorithm>
#include <map>

#include "checkpoint/checkpoint.h"
#include "checkpoint/names.h"
#include "model/for_each_matrix.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kMlxRoot = "language_model.";

/// What the source's files say about a tensor, by canonical name.
struct SourceTensor {
  std::string dtype;
  int64_t bytes = 0;
};

class Lister {
 public:
  Lister(const ModelConfig& config, const std::filesystem::path& source) : config_(config) {
    for (const TensorListing& listing : list_tensors(source)) {
      source_[canonical_name(listing.name).name] = {listing.dtype, listing.bytes};
    }
  }

  void matrix(const std::string& module, const Matrix& matrix) {
    ConvertTensor& tensor = add(module + std::string(kWeight), {matrix.rows, matrix.cols});
    tensor.matrix = &matrix;
    tensor.rows = matrix.rows;
    tensor.cols = matrix.cols;
    tensor.source_bytes = matrix.byte_size();
  }

  void vector(const std::string& name, const std::vector<float>& values) {
    const auto size = static_cast<int64_t>(values.size());
    ConvertTensor& tensor = add(name, {size});
    tensor.values = values;
    tensor.cols = size;
    const SourceTensor& source = source_[canonical_name(name).name];
    tensor.source_bytes = source.bytes;
    // The decay is exp(-exp(A_log) …): mlx-lm leaves its precision alone, too.
    if (name.ends_with("A_log") && source.dtype != "BF16") tensor.format = WeightFormat::dense(DType::f32);
  }

  void layer(const std::string& prefix, const LayerWeights& layer) {
    const auto add_matrix = [&](MatrixRole role) {
      matrix(prefix + std::string(module_name(role)), matrix_of(layer, role));
    };
    const auto add_vector = [&](VectorRole role) {
      vector(prefix + std::string(tensor_name(role)), vector_of(layer, role));
      if (role != VectorRole::conv1d) return;
      ConvertTensor& conv = tensors_.back();
      conv.rows = config_.conv_dim();
      conv.cols = config_.linear_conv_kernel_dim;
      conv.shape = {conv.rows, conv.cols, 1};
    };
    add_vector(VectorRole::input_norm);
    std::ranges::for_each(mixer_matrices(layer_type(layer)), add_matrix);
    std::ranges::for_each(mixer_vectors(layer_type(layer)), add_vector);
    add_vector(VectorRole::post_attention_norm);
    std::ranges::for_each(mlp_matrices(), add_matrix);
  }

  void mtp(const std::string& prefix, const MtpWeights& mtp) {
    matrix(prefix + "fc", mtp.fc);
    vector(prefix + "pre_fc_norm_embedding.weight", mtp.pre_fc_norm_embedding);
    vector(prefix + "pre_fc_norm_hidden.weight", mtp.pre_fc_norm_hidden);
    for (size_t i = 0; i < mtp.layers.size(); ++i) layer(prefix + "layers." + std::to_string(i) + ".", mtp.layers[i]);
    vector(prefix + "norm.weight", mtp.norm);
  }

  std::vector<ConvertTensor> take() { return std::move(tensors_); }

 private:
  ConvertTensor& add(const std::string& name, std::vector<int64_t> shape) {
    ConvertTensor& tensor = tensors_.emplace_back();
    tensor.name = std::string(kMlxRoot) + name;
    tensor.shape = std::move(shape);
    return tensor;
  }

  const ModelConfig& config_;
  std::map<std::string, SourceTensor> source_;
  std::vector<ConvertTensor> tensors_;
};

}  // namespace

std::string ConvertTensor::module() const {
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name;
}

std::vector<format::TensorSpec> ConvertTensor::written(Layout layout) const {
  const auto named = [&](const std::string& full) {
    return layout == Layout::flat ? full.substr(kMlxRoot.size()) : full;
  };
  if (!quantized()) {
    return {{named(name), format.type == DType::f32 ? format::TensorType::f32 : format::TensorType::bf16, shape}};
  }
  const std::vector<int64_t> groups{rows, format.groups(cols)};
  const auto scales = format.has_small_floats() ? format::TensorType::u8 : format::TensorType::bf16;
  std::vector<format::TensorSpec> specs{{named(name), format::TensorType::u32, {rows, cols * format.bits / 32}},
                                        {named(module() + ".scales"), scales, groups}};
  if (format.has_biases()) specs.push_back({named(module() + ".biases"), format::TensorType::bf16, groups});
  return specs;
}

int64_t ConvertTensor::bytes() const {
  uint64_t sum = 0;
  for (const format::TensorSpec& spec_of_one : written(Layout::mlx)) {
    sum += format::tensor_bytes(spec_of_one.shape, spec_of_one.type).value_or(0);
  }
  return static_cast<int64_t>(sum);
}

TensorReport ConvertTensor::report() const {
  TensorReport report;
  report.name = module();
  report.kind = kind_of(canonical_name(name));
  report.shape = shape;
  report.bits = format.bits;
  report.group_size = format.group_size;
  report.bytes = bytes();
  report.source_bytes = source_bytes;
  report.note = note;
  return report;
}

std::vector<ConvertTensor> list_convert_tensors(const Weights& weights, const std::filesystem::path& source,
                                                bool keep_mtp) {
  Lister lister(weights.config, source);
  lister.matrix("model.embed_tokens", weights.embed_tokens);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    lister.layer("model.layers." + std::to_string(i) + ".", weights.layers[i]);
  }
  lister.vector("model.norm.weight", weights.norm);
  if (!weights.config.tie_word_embeddings) lister.matrix("lm_head", weights.lm_head);
  if (keep_mtp && weights.mtp) lister.mtp("mtp.", *weights.mtp);
  return lister.take();
}

void apply_plan(std::vector<ConvertTensor>& tensors, const ConvertPlan& plan) {
  for (ConvertTensor& tensor : tensors) {
    if (tensor.matrix == nullptr) continue;
    const MatrixPlan decision = plan.matrix(tensor.name, tensor.rows, tensor.cols);
    const WeightFormat& wanted = decision.format;
    if (!wanted.quantized()) continue;
    if (!wanted.is_known()) {
      throw Error(ErrorCode::invalid_argument,
                  std::to_string(wanted.bits) + " bits in groups of " + std::to_string(wanted.group_size), tensor.name,
                  "bits: 2, 3, 4, 5, 6, 8, 16; groups: 32, 64, 128");
    }
    if (!wanted.fits(tensor.cols)) {
      tensor.note = "stays bfloat16: its width of " + std::to_string(tensor.cols) + " is no multiple of the group of " +
                    std::to_string(wanted.group_size);
      continue;
    }
    tensor.format = wanted;
    tensor.quantizer = decision.quantizer;
  }
}

}  // namespace prosa::checkpoint
