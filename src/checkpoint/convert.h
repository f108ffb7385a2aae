// From a model folder to another one: quantized, requantized or bfloat16, written so that mlx-lm and prosa read it.
//
// What becomes of each matrix is the plan's business (convert_plan.h), which formats exist is quantize.h's. Rows stream
// through: memory stays at some tens of megabytes a thread whatever the model's size. Invariants: the destination
// appears complete or not at all, the source is never changed, and the bytes depend on source, plan, layout and shard
// size only, not on threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/convert_plan.h"
#include "checkpoint/quantization_report.h"

namespace prosa::checkpoint {

/// mlx: names `language_model.…`, config.json as mlx-lm writes it, in the destination itself.
/// flat: names `model.…`, the flat config.json of small chat conversions, in a subfolder of the destination that is
/// named after the bits most matrices have: int5, int8, bf16.
enum class Layout { mlx, flat };

struct ConvertProgress {
  int64_t bytes_done = 0;  // of the written tensors
  int64_t bytes_total = 0;
  std::string_view tensor;  // being worked on
};

struct ConvertOptions {
  std::string method = "rtn";  // for the report: the name of what made the plan
  Layout layout = Layout::mlx;
  bool keep_mtp = false;                   // convert the multi-token-prediction head too; without it, it is left out
  int64_t shard_bytes = int64_t{5} << 30;  // a file begins anew rather than grow beyond this; one tensor may
  bool replace = false;                    // put the new folder in the place of a checkpoint that is there already
  int threads = 0;                         // 0: all cores
  std::function<void(const ConvertProgress&)> progress;  // one call at a time, from any thread
  std::function<bool()> cancelled;                       // asked between blocks of rows, from any thread
};

/// A matrix that a plan decides on.
struct MatrixShape {
  std::string name;  // as the plan is asked: language_model.model.layers.0.mlp.down_proj.weight, whatever the layout
  int64_t rows = 0;
  int64_t cols = 0;
};

/// The matrices of a model folder in the order in which they are written. Errors: as of load_weights().
std::vector<MatrixShape> list_matrices(const std::filesystem::path& source, bool keep_mtp);

/// Reads every weight of `source`, lets `plan` fold and quantize it, writes `destination` with config, tokenizer and
/// template files and quantization_report.json, and returns what that report says. A matrix whose width the plan's
/// group does not divide stays bfloat16, with a note in the report. Matrices of float32 and float16 go through
/// bfloat16, as with mlx-lm.
///
/// Errors: those of load_weights(); bad_checkpoint (a weight that is not finite: tensor, row, column);
/// invalid_argument (destination exists, contains or lies in the source; a plan's bits or group unknown);
/// io (full disk, no permission); cancelled. After an error nothing has changed at `destination`.
QuantizationReport convert(const std::filesystem::path& source, const std::filesystem::path& destination,
                           const ConvertPlan& plan, const ConvertOptions& options);

/// The same report without reading weights or writing anything: sizes are exact, errors of weights unknown.
QuantizationReport plan_conversion(const std::filesystem::path& source, const ConvertPlan& plan,
                                   const ConvertOptions& options);

}  // namespace prosa::checkpoint
