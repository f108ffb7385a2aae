// Synthetic checkpoints of any size: every weight is a pure function of (seed, tensor name, index), so two machines
// make the same file without exchanging it. For tests and benchmarks; such a model speaks no language.
//
// Writes config.json and model.safetensors tensor by tensor; memory stays at a few megabytes whatever the model's size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace prosa::checkpoint {

struct SynthOptions {
  uint64_t seed = 1;
  int bits = 0;         // 0: raw bfloat16 with Hugging Face names; else MLX naming and convention, quantized
  int group_size = 64;  // columns; matrices whose width it doesn't divide stay bfloat16
  int threads = 0;      // 0: all cores
  std::function<void(double fraction, std::string_view tensor)> progress;
};

/// "tiny", "grouped", "qwen3.5-0.8b", "qwen3.5-2b", "qwen3.5-4b" (the prefix may be left out).
/// Error(invalid_argument) lists the known ones.
ModelConfig synth_preset(std::string_view name);
std::vector<std::string_view> synth_preset_names();

/// Makes `folder` when it does not exist; refuses one that already holds a model.safetensors or config.json.
/// Errors: invalid_argument, io.
void synthesize(const ModelConfig& config, const std::filesystem::path& folder, const SynthOptions& options);

/// weights[i] = weight first + i of the tensor with this raw name and these columns (0 for vectors), as bfloat16.
void synth_weights(uint64_t seed, std::string_view raw_name, int64_t cols, uint64_t first, std::span<uint16_t> weights);

}  // namespace prosa::checkpoint
