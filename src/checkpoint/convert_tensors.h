// The tensors of a conversion: what is read, what is written, and how the plan decided.
//
// Lists and sizes only; rows are convert_rows.h's, files convert.cpp's. Invariant: every tensor of the main model
// stands in the list once, a tied head not at all, and names are those of the MLX layout.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/convert.h"
#include "format/safetensors_writer.h"
#include "model/weights.h"

namespace prosa::checkpoint {

/// One matrix with its scales and biases, or one small tensor.
struct ConvertTensor {
  std::string name;                // "….weight", "….A_log", "….dt_bias"
  const Matrix* matrix = nullptr;  // the source of a matrix, else nullptr
  std::span<const float> values;   // the source of a small tensor, in the converted convention
  std::vector<int64_t> shape;      // as it is written when dense
  int64_t rows = 1;
  int64_t cols = 0;

  WeightFormat format;  // as it is written; dense ones are bfloat16, or float32 for the few that keep it
  std::shared_ptr<const RowQuantizer> quantizer;
  std::string note;  // why not as the plan wished
  int64_t source_bytes = 0;

  /// The name without ".weight".
  [[nodiscard]] std::string module() const;
  [[nodiscard]] bool quantized() const noexcept { return format.quantized(); }
  /// What is written: one dense tensor, or weight, scales and, if affine, biases. Names as in `layout`.
  [[nodiscard]] std::vector<format::TensorSpec> written(Layout layout) const;
  [[nodiscard]] int64_t bytes() const;
  [[nodiscard]] TensorReport report() const;
};

/// `weights` must outlive the list; `source` is the folder they come from.
std::vector<ConvertTensor> list_convert_tensors(const Weights& weights, const std::filesystem::path& source,
                                                bool keep_mtp);

/// Asks the plan about every matrix. Error(invalid_argument): bits or a group that don't exist.
void apply_plan(std::vector<ConvertTensor>& tensors, const ConvertPlan& plan);

}  // namespace prosa::checkpoint
