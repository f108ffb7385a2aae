// What a conversion did to each tensor, as it lies beside the weights in quantization_report.json.
//
// For people and `prosa inspect`; nothing that loads a model reads it. Invariant: what read_quantization_report()
// returns has finite, non-negative numbers and bounded lists.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace prosa::checkpoint {

inline constexpr const char* kQuantizationReportName = "quantization_report.json";

struct TensorReport {
  std::string name;  // of the module in the MLX layout, or of the tensor when it is no matrix
  std::string kind;  // see kind_of() in names.h
  std::vector<int64_t> shape;
  int bits = 16;       // 2, 3, 4, 5, 6, 8; 16: bfloat16; 32: float32
  int group_size = 0;  // 0: not quantized
  int64_t bytes = 0;   // with scales and biases
  int64_t source_bytes = 0;
  std::optional<double> relative_error;  // ||W - Ŵ|| / ||W|| of the folded values; nothing when unknown
  double squared_norm = 0;               // ||W||², to add up errors of several tensors
  std::string note;                      // why it is not as the plan wished
};

struct QuantizationReport {
  std::string method;
  std::vector<TensorReport> tensors;  // in the order in which they were converted
  std::filesystem::path folder;       // where the files lie (for the flat layout, the subfolder); not in the file
  std::vector<std::string> warnings;  // about the source (ModelConfig::warnings), and what mlx-lm cannot load of the
                                      // result; not in the file

  [[nodiscard]] int64_t bytes() const;
  /// Bits of all matrices, scales and biases included, by weight.
  [[nodiscard]] double bits_per_weight() const;
};

void write_quantization_report(const std::filesystem::path& folder, const QuantizationReport& report);

/// Nothing when the folder has none. Errors: io, bad_checkpoint.
std::optional<QuantizationReport> read_quantization_report(const std::filesystem::path& folder);

}  // namespace prosa::checkpoint
