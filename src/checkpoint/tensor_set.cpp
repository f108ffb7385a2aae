// Lookup by canonical name and the checks that every tensor passes on its way into Weights.
#include "checkpoint/tensor_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bf16.h"
#include "model/for_each_matrix.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

std::string where_of(const FileTensor& tensor) { return tensor.file->path().string() + ": " + tensor.entry->name; }

DType require_float(const FileTensor& tensor) {
  const auto type = float_type(tensor.entry->type);
  if (!type) {
    throw Error(ErrorCode::unsupported,
                "dtype " + std::string(to_string(tensor.entry->type)) + ", expected BF16, F16 or F32",
                where_of(tensor));
  }
  return *type;
}

float read_float(const std::byte* data, DType type) {
  if (type == DType::f32) {
    float value = 0;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, data, sizeof bits);
  return type == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

/// The width that the config gives to a canonical module; 0 for one that is no matrix of the model.
int64_t cols_of(const ModelConfig& config, std::string_view module) {
  if (module == "mtp.fc") return matrix_dims(config, MatrixRole::mtp_fc).cols;
  const size_t layers = module.find("layers.");
  if (layers != std::string_view::npos) module.remove_prefix(std::min(module.size(), module.find('.', layers + 7) + 1));
  const auto is_it = [&](MatrixRole role) { return module_name(role) == module; };
  for (const auto& roles :
       {mixer_matrices(LayerType::linear_attention), mixer_matrices(LayerType::full_attention), mlp_matrices()}) {
    const auto found = std::ranges::find_if(roles, is_it);
    if (found != roles.end()) return matrix_dims(config, *found).cols;
  }
  const bool outer = is_it(MatrixRole::embed_tokens) || is_it(MatrixRole::lm_head);
  return outer ? matrix_dims(config, MatrixRole::embed_tokens).cols : 0;
}

}  // namespace

std::optional<DType> float_type(format::TensorType type) noexcept {
  switch (type) {
    case format::TensorType::bf16: return DType::bf16;
    case format::TensorType::f16: return DType::f16;
    case format::TensorType::f32: return DType::f32;
    default: return std::nullopt;
  }
}

void throw_shape(const FileTensor& tensor, const std::string& expected) {
  throw Error(ErrorCode::shape_mismatch,
              "expected " + expected + ", found " + std::string(to_string(tensor.entry->type)) + " " +
                  format::shape_string(tensor.entry->shape),
              where_of(tensor), "config.json and the tensors are not of the same model");
}

TensorSet::TensorSet(const ModelFiles& files, const ModelConfig& config) : config_(&config) {
  folder_ = files.files().front().path().parent_path().string();
  for (const FileTensor& tensor : files.tensors()) {
    CanonicalName canonical = canonical_name(tensor.entry->name);
    if (canonical.role != TensorRole::text && canonical.role != TensorRole::mtp) continue;
    const auto [it, fresh] = tensors_.emplace(std::move(canonical.name), tensor);
    if (!fresh) {
      throw Error(ErrorCode::bad_checkpoint,
                  "'" + tensor.entry->name + "' in " + tensor.file->path().filename().string() + " and '" +
                      it->second.entry->name + "' in " + it->second.file->path().filename().string() +
                      " are the same tensor",
                  folder_, "remove one of the files");
    }
  }
  for (const auto& [module, spec] : config.quantization_overrides) overrides_[canonical_name(module).name] = spec;
}

const FileTensor* TensorSet::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const FileTensor& TensorSet::require(const std::string& name) const {
  const FileTensor* tensor = find(name);
  if (tensor == nullptr) {
    throw Error(ErrorCode::not_found, "the tensor '" + name + "' is missing", folder_,
                "the download is incomplete or config.json belongs to another model");
  }
  return *tensor;
}

QuantizationSpec TensorSet::spec_of(const std::string& module, const std::vector<int64_t>& words,
                                    const std::vector<int64_t>& groups, int64_t cols) const {
  const auto found = overrides_.find(module);
  if (found == overrides_.end()) return config_->quantized ? config_->quantization : QuantizationSpec{};
  if (found->second.bits != QuantizationSpec::kFromShapes) return found->second;
  if (words.size() != 2 || groups.size() != 2 || groups[1] < 1 || cols < 1 || cols % groups[1] != 0) return {};
  if (words[1] > cols || words[1] * 32 % cols != 0) return {};
  const WeightFormat format =
      WeightFormat::affine(static_cast<int>(words[1] * 32 / cols), static_cast<int>(cols / groups[1]));
  return format.is_known() ? QuantizationSpec{format.bits, format.group_size} : QuantizationSpec{};
}

std::optional<WeightFormat> TensorSet::stated_format(const std::string& name) const {
  constexpr std::string_view kSuffix = ".weight";
  if (!name.ends_with(kSuffix)) return std::nullopt;
  const std::string module = name.substr(0, name.size() - kSuffix.size());
  const FileTensor* weight = find(name);
  const FileTensor* scales = find(module + ".scales");
  if (weight == nullptr || scales == nullptr) return std::nullopt;
  const auto& words = weight->entry->shape;
  const auto& groups = scales->entry->shape;
  const QuantizationSpec spec = spec_of(module, words, groups, cols_of(*config_, module));
  const bool agree = words.size() == 2 && groups.size() == 2 && words[0] == groups[0] &&
                     words[1] / std::max<int64_t>(spec.bits, 1) * 32 == groups[1] * spec.group_size;
  if (!agree || spec.bits == 0) return std::nullopt;
  const bool bytes = scales->entry->type == format::TensorType::u8;
  if (spec.coding != WeightCoding::affine) return bytes ? std::optional(spec.format(DType::bf16)) : std::nullopt;
  const auto type = float_type(scales->entry->type);
  return type ? std::optional(spec.format(*type)) : std::nullopt;
}

Matrix TensorSet::matrix(const std::string& module, int64_t rows, int64_t cols) const {
  const FileTensor& weight = require(module + ".weight");
  if (has(module + ".scales") || weight.entry->type == format::TensorType::u32) {
    return quantized_matrix(module, weight, rows, cols);
  }
  const std::vector<int64_t> expected{rows, cols};
  Matrix matrix;
  matrix.format = WeightFormat::dense(require_float(weight));
  if (weight.entry->shape != expected) throw_shape(weight, format::shape_string(expected));
  matrix.name = weight.entry->name;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.data = weight.data().data();
  return matrix;
}

Matrix TensorSet::quantized_matrix(const std::string& module, const FileTensor& weight, int64_t rows,
                                   int64_t cols) const {
  const FileTensor& scales = require(module + ".scales");
  const QuantizationSpec spec = spec_of(module, weight.entry->shape, scales.entry->shape, cols);
  const bool affine = spec.coding == WeightCoding::affine;
  const std::string expectation = "as config.json's " + (affine ? "" : std::string(to_string(spec.coding)) + ", ") +
                                  std::to_string(spec.bits) + " bits in groups of " + std::to_string(spec.group_size) +
                                  " over [" + std::to_string(rows) + ", " + std::to_string(cols) + "] ask for";
  if (spec.bits == 0) {
    throw_shape(scales, "none, as config.json says that " + module + " is not quantized");
  }
  if (cols % spec.group_size != 0) throw_shape(weight, "a width that is a multiple of the group, " + expectation);
  const std::vector<int64_t> words{rows, cols * spec.bits / 32};
  const std::vector<int64_t> groups{rows, cols / spec.group_size};
  if (weight.entry->type != format::TensorType::u32 || weight.entry->shape != words) {
    throw_shape(weight, "U32 " + format::shape_string(words) + " " + expectation);
  }
  Matrix matrix;
  matrix.format = spec.format(affine ? require_float(scales) : DType::bf16);
  if (!affine && scales.entry->type != format::TensorType::u8) {
    throw_shape(scales, "U8 " + format::shape_string(groups) + " " + expectation);
  }
  if (scales.entry->shape != groups) throw_shape(scales, format::shape_string(groups) + " " + expectation);
  if (affine) {
    const FileTensor& biases = require(module + ".biases");
    if (require_float(biases) != matrix.format.type) {
      throw_shape(biases, std::string(to_string(scales.entry->type)) + " like its scales");
    }
    if (biases.entry->shape != groups) throw_shape(biases, format::shape_string(groups) + " " + expectation);
    matrix.biases = biases.data().data();
  }
  matrix.name = weight.entry->name;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.data = weight.data().data();
  matrix.scales = scales.data().data();
  return matrix;
}

std::vector<float> TensorSet::values(const std::string& name) const {
  const FileTensor& tensor = require(name);
  const DType type = require_float(tensor);
  const auto bytes = tensor.data();
  std::vector<float> result(bytes.size() / dtype_size(type));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = read_float(bytes.data() + i * dtype_size(type), type);
    if (!std::isfinite(result[i])) {
      throw Error(ErrorCode::bad_checkpoint, "value " + std::to_string(i) + " is not a finite number", where_of(tensor),
                  "the file is damaged: fetch it again");
    }
  }
  return result;
}

std::vector<float> TensorSet::vector(const std::string& name, int64_t size, float added) const {
  const FileTensor& tensor = require(name);
  const std::vector<int64_t> expected{size};
  if (tensor.entry->shape != expected) throw_shape(tensor, format::shape_string(expected));
  std::vector<float> result = values(name);
  for (float& value : result) value += added;
  return result;
}

}  // namespace prosa::checkpoint
