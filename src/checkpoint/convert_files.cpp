// config.json in the forms of mlx-lm and of flat folders, the index, copies.
#include "checkpoint/convert_files.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/files.h"
#include "checkpoint/config_json.h"
#include "checkpoint/json_object.h"
#include "checkpoint/names.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxCompanionBytes = size_t{256} << 20;
constexpr std::array<const char*, 13> kCompanions{"tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "tokenizer.model",
                                                  "vocab.json",
                                                  "merges.txt",
                                                  "added_tokens.json",
                                                  "special_tokens_map.json",
                                                  "chat_template.jinja",
                                                  "chat_template.json",
                                                  "generation_config.json",
                                                  "LICENSE",
                                                  "LICENSE.txt",
                                                  "LICENSE.md"};

json format_json(const WeightFormat& format) {
  json object = {{"group_size", format.group_size}, {"bits", format.bits}};
  if (format.coding != WeightCoding::affine) object["mode"] = to_string(format.coding);
  return object;
}

/// The default, and an entry for each matrix that differs: its own bits, or false.
json quantization_json(std::span<const ConvertTensor> tensors, const WeightFormat& common) {
  json object = format_json(common);
  for (const ConvertTensor& tensor : tensors) {
    if (tensor.matrix == nullptr || tensor.format == common) continue;
    object[tensor.module()] = tensor.quantized() ? format_json(tensor.format) : json(false);
  }
  return object;
}

/// What would contradict the new weights.
void drop_stale_keys(json& object) {
  for (const char* key : {"_name_or_path", "vision_config", "quantization", "quantization_config", "quantization_bits",
                          "quantization_group_size"}) {
    object.erase(key);
  }
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (object.contains(key) && object[key].is_string()) object[key] = "bfloat16";
  }
}

void forget_mtp(json& object) {
  if (object.contains("mtp_num_hidden_layers")) object["mtp_num_hidden_layers"] = 0;
}

/// mlx-lm reads the text object alone, and takes defaults of its own for what is missing there.
void complete_text_config(json& text, const ModelConfig& config) {
  const json known = text_config_json(config);
  for (const auto& [key, value] : known.items()) {
    if (!text.contains(key) || text[key].is_null()) text[key] = value;
  }
  text["tie_word_embeddings"] = config.tie_word_embeddings;
  json& rope = text["rope_parameters"];
  for (const auto& [key, value] : known["rope_parameters"].items()) {
    if (rope.is_object() && !rope.contains(key)) rope[key] = value;
  }
  const int64_t interval = full_attention_interval(config);  // read there instead of the list of layer types
  if (interval != 0 && !text.contains("full_attention_interval")) text["full_attention_interval"] = interval;
}

/// The wrapped form that mlx-lm loads; a source without the wrapper gets one.
json mlx_config(json root, const ModelConfig& config, bool has_mtp) {
  if (!root.contains("text_config") || !root["text_config"].is_object()) {
    json text = std::move(root);
    text.update(json(text_config_json(config)));
    root = {{"model_type", "qwen3_5"}, {"tie_word_embeddings", config.tie_word_embeddings}};
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
      if (text.contains(key)) root[key] = text[key];
    }
    drop_stale_keys(text);
    root["text_config"] = std::move(text);
  }
  json& text = root["text_config"];
  root["tie_word_embeddings"] = config.tie_word_embeddings;
  drop_stale_keys(root);
  drop_stale_keys(text);
  if (!has_mtp) {
    forget_mtp(root);
    forget_mtp(text);
  }
  complete_text_config(text, config);
  return root;
}

ordered_json flat_config(const ModelConfig& config, std::span<const ConvertTensor> tensors, const WeightFormat& common,
                         bool has_mtp) {
  ordered_json flat = flat_config_json(config);
  if (has_mtp) flat["mtp_num_hidden_layers"] = config.mtp_num_layers;
  if (!common.quantized()) return flat;
  const json object = quantization_json(tensors, common);
  const bool uniform = object.size() == format_json(common).size();
  flat["quantization"] = uniform && common.coding == WeightCoding::affine
                             ? ordered_json("int" + std::to_string(common.bits))
                             : ordered_json(object);
  flat["quantization_bits"] = common.bits;
  flat["quantization_group_size"] = common.group_size;
  return flat;
}

}  // namespace

WeightFormat common_format(std::span<const ConvertTensor> tensors) {
  std::map<WeightFormat, int64_t> counts;
  for (const ConvertTensor& tensor : tensors) {
    if (tensor.quantized()) ++counts[tensor.format];
  }
  WeightFormat common;
  int64_t most = 0;
  for (const auto& [format, count] : counts) {
    if (count <= most) continue;
    most = count;
    common = format;
  }
  return common;
}

void write_config(const fs::path& folder, const fs::path& source, const ModelConfig& config,
                  std::span<const ConvertTensor> tensors, Layout layout) {
  const WeightFormat common = common_format(tensors);
  const bool has_mtp = std::ranges::any_of(
      tensors, [](const ConvertTensor& tensor) { return canonical_name(tensor.name).role == TensorRole::mtp; });
  std::string text;
  if (layout == Layout::flat) {
    text = flat_config(config, tensors, common, has_mtp).dump(1);
  } else {
    json root = mlx_config(read_json_object(source / "config.json"), config, has_mtp);
    if (common.quantized()) {
      root["quantization"] = quantization_json(tensors, common);
      root["quantization_config"] = root["quantization"];
    }
    text = root.dump(4);
  }
  replace_file(folder / "config.json", text + "\n");
}

void write_index(const fs::path& folder, const std::map<std::string, std::string>& shards, int64_t total_bytes,
                 int64_t parameters) {
  const json index = {{"metadata", {{"total_size", total_bytes}, {"total_parameters", parameters}}},
                      {"weight_map", shards}};
  replace_file(folder / "model.safetensors.index.json", index.dump(4) + "\n");
}

void copy_companions(const fs::path& source, const fs::path& folder) {
  for (const char* name : kCompanions) {
    std::error_code ignored;
    if (!fs::exists(source / name, ignored)) continue;
    replace_file(folder / name, read_file(source / name, kMaxCompanionBytes, ErrorCode::unsupported));
  }
}

}  // namespace prosa::checkpoint
