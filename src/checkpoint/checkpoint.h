// From a model folder to config and weights: the one entry to this part.
//
// Reads raw Hugging Face and MLX-converted folders alike (told apart by the conv1d layout), single-file or sharded
// safetensors, memory-mapped. Not here: tokenizer files, packing for a device, downloading.
#pragma once

#include <filesystem>
#include <memory>

#include "model/config.h"
#include "model/weights.h"

namespace prosa::checkpoint {

/// config.json (+ generation_config.json for end tokens) in any dialect: `text_config` wrapper, qwen3_5_text, flat.
/// Errors: not_found, bad_checkpoint, unsupported; each names file, key, value found and values known.
ModelConfig read_config(const std::filesystem::path& folder);

/// Maps the folder's safetensors and binds every tensor of the config, shapes checked. Pages are read on first touch.
/// Errors: not_found, bad_checkpoint, shape_mismatch (tensor, expected, found), unsupported, io.
std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder);

/// Matrix row -> float32 [cols]: dense conversion or scale * q + bias. `row` in [0, rows).
void dequantize_row(const Matrix& matrix, int64_t row, float* out);

}  // namespace prosa::checkpoint
