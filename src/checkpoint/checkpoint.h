// From a model folder to config and weights: the one entry to this part.
//
// Reads raw Hugging Face and MLX-converted folders alike (told apart by the conv1d layout), single-file or sharded
// safetensors, memory-mapped. Not here: tokenizer files, packing for a device, downloading.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "prosa/sampling.h"

namespace prosa::checkpoint {

/// config.json (+ generation_config.json for end tokens) in any dialect: `text_config` wrapper, qwen3_5_text, flat.
/// Errors: not_found, bad_checkpoint, unsupported; each names file, key, value found and values known.
ModelConfig read_config(const std::filesystem::path& folder);

/// The same for a lone file (generation_config.json is looked for beside it).
ModelConfig read_config_file(const std::filesystem::path& config_json);

/// What generation_config.json says about sampling; `warnings` gets a sentence for each value that cannot be meant,
/// which is left out. Nothing is set where there is no such file. Errors: as read_config().
SamplingConfig read_sampling(const std::filesystem::path& folder, std::vector<std::string>& warnings);

/// Maps the folder's safetensors and binds every tensor of the config, shapes checked. Pages are read on first touch.
/// Errors: not_found, bad_checkpoint, shape_mismatch (tensor, expected, found), unsupported, io.
std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder);

/// One tensor of a folder as it stands in the file, for people (`prosa inspect`).
struct TensorListing {
  std::string name;            // as in the file
  std::string file;            // file name in the folder
  std::string dtype;           // "BF16", "U32"
  std::vector<int64_t> shape;  // as in the file
  int64_t bytes = 0;
  std::optional<WeightFormat> format;  // of a quantized matrix's packed weight
  std::string role;  // "text", "mtp", "vision", "ignored": ignored ones have names prosa does not know
};

/// Every tensor of the folder in file order. Errors as of load_weights(), but shapes are not held against the config.
std::vector<TensorListing> list_tensors(const std::filesystem::path& folder);

}  // namespace prosa::checkpoint
