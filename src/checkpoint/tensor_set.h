// The tensors of a folder under their canonical names, and taking typed pieces out of them.
//
// Bridges files (model_files.h) and weights (loader.cpp): float vectors with finiteness checked, matrices as views with
// shapes and quantization checked. Knows no layer structure. Invariant: what it returns has exactly the asked shape.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/model_files.h"
#include "checkpoint/names.h"
#include "model/config.h"
#include "model/weights.h"

namespace prosa::checkpoint {

class TensorSet {
 public:
  /// `files` and `config` must outlive the set. Error(bad_checkpoint) when two tensors mean the same.
  TensorSet(const ModelFiles& files, const ModelConfig& config);

  /// By canonical name; nullptr when absent.
  [[nodiscard]] const FileTensor* find(const std::string& name) const;
  /// Error(not_found) names the tensor and the folder.
  [[nodiscard]] const FileTensor& require(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return find(name) != nullptr; }
  /// Canonical names, sorted.
  [[nodiscard]] const std::map<std::string, FileTensor>& tensors() const noexcept { return tensors_; }

  /// Of the files, for messages.
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

  /// `module`.weight [rows, cols], dense or with .scales and .biases. Errors: not_found, shape_mismatch, unsupported.
  [[nodiscard]] Matrix matrix(const std::string& module, int64_t rows, int64_t cols) const;
  /// A float vector [size] with `added` on each value. Errors: not_found, shape_mismatch, unsupported, bad_checkpoint
  /// (NaN or infinity).
  [[nodiscard]] std::vector<float> vector(const std::string& name, int64_t size, float added) const;
  /// The values of any float tensor in row-major order; the caller has checked the shape.
  [[nodiscard]] std::vector<float> values(const std::string& name) const;

  /// The format of the quantized matrix whose packed weight has this name, when the shapes of its words and scales
  /// agree with the config; else nothing.
  [[nodiscard]] std::optional<WeightFormat> stated_format(const std::string& name) const;

 private:
  [[nodiscard]] Matrix quantized_matrix(const std::string& module, const FileTensor& weight, int64_t rows,
                                        int64_t cols) const;
  /// What config.json says of the module; where it leaves that to the shapes of packed words and scales, what they say
  /// of a matrix with `cols` columns (bits 0: nothing that prosa knows).
  [[nodiscard]] QuantizationSpec spec_of(const std::string& module, const std::vector<int64_t>& words,
                                         const std::vector<int64_t>& groups, int64_t cols) const;

  const ModelConfig* config_;
  std::string folder_;
  std::map<std::string, FileTensor> tensors_;
  std::map<std::string, QuantizationSpec> overrides_;  // by canonical module path
};

/// Error(shape_mismatch) with tensor, expected and found.
[[noreturn]] void throw_shape(const FileTensor& tensor, const std::string& expected);

/// BF16, F16, F32; else nothing.
std::optional<DType> float_type(format::TensorType type) noexcept;

}  // namespace prosa::checkpoint
