// The small files of a converted folder: config.json, the index of shards, and what is copied from the source.
//
// No weights. Invariant: config.json says of every matrix what its tensors are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/convert_tensors.h"
#include "model/config.h"

namespace prosa::checkpoint {

/// The format that most quantized matrices have; dense: none is quantized. Ties: fewer bits, smaller groups.
WeightFormat common_format(std::span<const ConvertTensor> tensors);

/// config.json of the written folder, from the source's own where it is of the same form.
void write_config(const std::filesystem::path& folder, const std::filesystem::path& source, const ModelConfig& config,
                  std::span<const ConvertTensor> tensors, Layout layout);

/// model.safetensors.index.json: `shards` maps tensors to file names.
void write_index(const std::filesystem::path& folder, const std::map<std::string, std::string>& shards,
                 int64_t total_bytes, int64_t parameters);

/// Tokenizer, template, generation_config.json and licence, those that are there. Errors: io, unsupported (larger than
/// such files are).
void copy_companions(const std::filesystem::path& source, const std::filesystem::path& folder);

}  // namespace prosa::checkpoint
