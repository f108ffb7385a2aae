// Writing a synthetic model folder: the list of tensors, blocks of rows on all cores, config.json.
//
// The rule for the values is in synth_rule.cpp. Invariant: the bytes depend on config, seed, bits and group only, not
// on threads or block size.
#include "checkpoint/synth.h"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/bf16.h"
#include "base/parallel.h"
#include "checkpoint/config_json.h"
#include "checkpoint/quantize.h"
#include "format/safetensors_writer.h"
#include "model/for_each_matrix.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kBlockWeights = 1 << 20;  // weights made at a time per thread

enum class Kind { matrix, vector, shifted_norm, conv };

struct SynthTensor {
  std::string raw_name;
  Kind kind = Kind::vector;
  int64_t rows = 0;
  int64_t cols = 0;  // of a vector: 1

  // Numbers in the writer's list.
  size_t weight = 0;
  bool quantized = false;
  size_t scales = 0;
  size_t biases = 0;
};

class TensorList {
 public:
  void matrix(const std::string& name, int64_t rows, int64_t cols) { add(name, Kind::matrix, rows, cols); }
  void vector(const std::string& name, int64_t size) { add(name, Kind::vector, size, 1); }
  void norm(const std::string& name, int64_t size) { add(name, Kind::shifted_norm, size, 1); }
  void conv(const std::string& name, int64_t channels, int64_t kernel) { add(name, Kind::conv, channels, kernel); }
  std::vector<SynthTensor> take() { return std::move(tensors_); }

 private:
  void add(const std::string& name, Kind kind, int64_t rows, int64_t cols) {
    SynthTensor& tensor = tensors_.emplace_back();
    tensor.raw_name = name;
    tensor.kind = kind;
    tensor.rows = rows;
    tensor.cols = cols;
  }
  std::vector<SynthTensor> tensors_;
};

void list_vector(const ModelConfig& config, VectorRole role, const std::string& layer, TensorList& list) {
  const std::string name = layer + std::string(tensor_name(role));
  switch (role) {
    case VectorRole::input_norm:
    case VectorRole::post_attention_norm: return list.norm(name, config.hidden_size);
    case VectorRole::q_norm:
    case VectorRole::k_norm: return list.norm(name, config.head_dim);
    case VectorRole::conv1d: return list.conv(name, config.conv_dim(), config.linear_conv_kernel_dim);
    case VectorRole::a_log:
    case VectorRole::dt_bias: return list.vector(name, config.linear_num_value_heads);
    case VectorRole::delta_norm: return list.vector(name, config.linear_value_head_dim);
  }
}

void list_layer(const ModelConfig& config, LayerType type, const std::string& layer, TensorList& list) {
  const auto matrix = [&](MatrixRole role) {
    const MatrixDims dims = matrix_dims(config, role);
    list.matrix(layer + std::string(module_name(role)) + ".weight", dims.rows, dims.cols);
  };
  list_vector(config, VectorRole::input_norm, layer, list);
  for (const MatrixRole role : mixer_matrices(type)) matrix(role);
  for (const VectorRole role : mixer_vectors(type)) list_vector(config, role, layer, list);
  list_vector(config, VectorRole::post_attention_norm, layer, list);
  for (const MatrixRole role : mlp_matrices()) matrix(role);
}

std::vector<SynthTensor> list_of(const ModelConfig& config) {
  const std::string model = "model.language_model.";
  TensorList list;
  list.matrix(model + "embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (size_t i = 0; i < config.layer_types.size(); ++i) {
    list_layer(config, config.layer_types[i], model + "layers." + std::to_string(i) + ".", list);
  }
  list.norm(model + "norm.weight", config.hidden_size);
  if (!config.tie_word_embeddings) list.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  return list.take();
}

/// model.language_model.X -> language_model.model.X, lm_head.X -> language_model.lm_head.X
std::string mlx_name(const std::string& raw_name) {
  constexpr std::string_view kRaw = "model.language_model.";
  if (raw_name.starts_with(kRaw)) return "language_model.model." + raw_name.substr(kRaw.size());
  return "language_model." + raw_name;
}

/// The file's tensors; numbers them in `tensors`.
std::vector<format::TensorSpec> specs_of(std::vector<SynthTensor>& tensors, const SynthOptions& options) {
  const bool mlx = options.bits != 0;
  std::vector<format::TensorSpec> specs;
  for (SynthTensor& tensor : tensors) {
    const std::string name = mlx ? mlx_name(tensor.raw_name) : tensor.raw_name;
    std::vector<int64_t> shape{tensor.rows, tensor.cols};
    if (tensor.kind == Kind::vector || tensor.kind == Kind::shifted_norm) shape = {tensor.rows};
    if (tensor.kind == Kind::conv) {
      shape =
          mlx ? std::vector{tensor.rows, tensor.cols, int64_t{1}} : std::vector{tensor.rows, int64_t{1}, tensor.cols};
    }
    tensor.quantized = mlx && tensor.kind == Kind::matrix && tensor.cols % options.group_size == 0;
    tensor.weight = specs.size();
    if (!tensor.quantized) {
      specs.push_back({name, format::TensorType::bf16, shape});
      continue;
    }
    const std::string module = name.substr(0, name.size() - std::string_view(".weight").size());
    const std::vector<int64_t> groups{tensor.rows, tensor.cols / options.group_size};
    specs.push_back({name, format::TensorType::u32, {tensor.rows, tensor.cols * options.bits / 32}});
    tensor.scales = specs.size();
    specs.push_back({module + ".scales", format::TensorType::bf16, groups});
    tensor.biases = specs.size();
    specs.push_back({module + ".biases", format::TensorType::bf16, groups});
  }
  return specs;
}

/// Rows [begin, end) of one tensor.
struct SynthBlock {
  const SynthTensor* tensor = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
};

/// Makes and writes blocks; one per thread, so that its buffers are reused.
class BlockMaker {
 public:
  BlockMaker(format::SafetensorsWriter& writer, const SynthOptions& options) : writer_(writer), options_(options) {}

  void make(const SynthBlock& block) {
    const SynthTensor& tensor = *block.tensor;
    const bool is_vector = tensor.kind == Kind::vector || tensor.kind == Kind::shifted_norm;
    weights_.resize(static_cast<size_t>((block.end - block.begin) * tensor.cols));
    synth_weights(options_.seed, tensor.raw_name, is_vector ? 0 : tensor.cols,
                  static_cast<uint64_t>(block.begin * tensor.cols), weights_);
    if (options_.bits != 0 && tensor.kind == Kind::shifted_norm) {
      for (uint16_t& weight : weights_) weight = float_to_bf16(1.0F + bf16_to_float(weight));
    }
    if (tensor.quantized) return quantize(block);
    writer_.write(tensor.weight, static_cast<uint64_t>(block.begin * tensor.cols) * 2,
                  std::as_bytes(std::span<const uint16_t>(weights_)));
  }

 private:
  void quantize(const SynthBlock& block) {
    const SynthTensor& tensor = *block.tensor;
    const auto format = WeightFormat::affine(options_.bits, options_.group_size);
    const auto rows = static_cast<size_t>(block.end - block.begin);
    const auto cols = static_cast<size_t>(tensor.cols);
    const size_t row_words = cols * static_cast<size_t>(options_.bits) / 32;
    const size_t row_groups = cols / static_cast<size_t>(options_.group_size);
    row_.resize(cols);
    words_.resize(rows * row_words);
    scales_.resize(rows * row_groups);
    biases_.resize(rows * row_groups);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) row_[c] = bf16_to_float(weights_[r * cols + c]);
      quantize_row(row_, format, std::span(words_).subspan(r * row_words, row_words),
                   std::span(scales_).subspan(r * row_groups, row_groups),
                   std::span(biases_).subspan(r * row_groups, row_groups));
    }
    const auto first = static_cast<uint64_t>(block.begin);
    writer_.write(tensor.weight, first * row_words * 4, std::as_bytes(std::span<const uint32_t>(words_)));
    writer_.write(tensor.scales, first * row_groups * 2, std::as_bytes(std::span<const uint16_t>(scales_)));
    writer_.write(tensor.biases, first * row_groups * 2, std::as_bytes(std::span<const uint16_t>(biases_)));
  }

  format::SafetensorsWriter& writer_;
  const SynthOptions& options_;
  std::vector<uint16_t> weights_;
  std::vector<float> row_;
  std::vector<uint32_t> words_;
  std::vector<uint16_t> scales_;
  std::vector<uint16_t> biases_;
};

std::vector<SynthBlock> blocks_of(const std::vector<SynthTensor>& tensors) {
  std::vector<SynthBlock> blocks;
  for (const SynthTensor& tensor : tensors) {
    const int64_t rows = std::max<int64_t>(1, kBlockWeights / tensor.cols);
    for (int64_t begin = 0; begin < tensor.rows; begin += rows) {
      blocks.push_back({&tensor, begin, std::min(tensor.rows, begin + rows)});
    }
  }
  return blocks;
}

/// Makes blocks on all threads.
void make_blocks(const std::vector<SynthBlock>& blocks, format::SafetensorsWriter& writer,
                 const SynthOptions& options) {
  std::vector<BlockMaker> makers(worker_count(blocks.size(), options.threads), BlockMaker(writer, options));
  std::mutex mutex;
  size_t done = 0;
  for_each_item(blocks.size(), options.threads, [&](size_t worker, size_t item) {
    makers[worker].make(blocks[item]);
    const std::scoped_lock lock(mutex);
    ++done;
    if (options.progress) {
      options.progress(static_cast<double>(done) / static_cast<double>(blocks.size()), blocks[item].tensor->raw_name);
    }
  });
}

std::string config_json(const ModelConfig& config, const SynthOptions& options) {
  ordered_json root{{"model_type", "qwen3_5"}, {"text_config", text_config_json(config)}};
  root["tie_word_embeddings"] = config.tie_word_embeddings;
  if (!config.eos_token_ids.empty()) root["eos_token_id"] = config.eos_token_ids;
  if (options.bits != 0) {
    const ordered_json quantization{{"group_size", options.group_size}, {"bits", options.bits}};
    root["quantization"] = quantization;
    root["quantization_config"] = quantization;
  }
  return root.dump(1) + "\n";
}

void prepare_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(ErrorCode::io, "can't make the folder: " + error.message(), folder.string());
  for (const char* name : {"model.safetensors", "config.json"}) {
    if (fs::exists(folder / name, error)) {
      throw Error(ErrorCode::invalid_argument, std::string("already holds ") + name, folder.string(),
                  "name another folder or remove the old one");
    }
  }
}

}  // namespace

void synthesize(const ModelConfig& config, const fs::path& folder, const SynthOptions& options) {
  if (options.bits != 0 && !WeightFormat::affine(options.bits, options.group_size).is_known()) {
    throw Error(ErrorCode::invalid_argument,
                std::to_string(options.bits) + " bits in groups of " + std::to_string(options.group_size), "synth",
                "bits: 2, 3, 4, 5, 6, 8; groups: 32, 64, 128");
  }
  prepare_folder(folder);
  std::vector<SynthTensor> tensors = list_of(config);
  const std::vector<format::TensorSpec> specs = specs_of(tensors, options);
  format::SafetensorsWriter writer(folder / "model.safetensors", specs, {{"format", options.bits != 0 ? "mlx" : "pt"}});
  make_blocks(blocks_of(tensors), writer, options);
  writer.commit();
  replace_file(folder / "config.json", config_json(config, options));
}

}  // namespace prosa::checkpoint
