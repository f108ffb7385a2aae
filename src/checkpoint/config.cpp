// config.json in its dialects -> ModelConfig, every number bounded and cross-checked.
//
// Dialects: multimodal wrapper with `text_config` (Hugging Face, MLX), the bare text model (`qwen3_5_text`), and the
// flat one of small chat conversions (rope_theta and partial_rotary_factor at top level, quantization as a label).
// Most keys are looked up in the text object first, then at top level; where a wrong place would change what the model
// computes without a sign of it, the official readers' place counts and a warning says so.
#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/json_object.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

void check_architecture(const ConfigReader& reader) {
  const auto check = [](const JsonObject& object) {
    const auto type = object.text("model_type");
    if (type && *type != "qwen3_5" && *type != "qwen3_5_text") {
      object.unsupported("model_type", "qwen3_5, qwen3_5_text (Qwen3.5 dense)");
    }
    return type.has_value();
  };
  const bool text_known = check(reader.text());
  const bool root_known = check(reader.root());
  if (!text_known && !root_known) reader.root().missing("model_type");

  const auto& act = reader.having("hidden_act");
  if (act.text("hidden_act").value_or("silu") != "silu") act.unsupported("hidden_act", "silu");
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (reader.having(key).boolean(key).value_or(false)) reader.having(key).unsupported(key, "false");
  }
  const auto& gate = reader.having("attn_output_gate");
  if (!gate.boolean("attn_output_gate").value_or(true)) gate.unsupported("attn_output_gate", "true");
  const auto& experts = reader.having("num_experts");
  if (experts.integer("num_experts", 0, INT32_MAX).value_or(0) > 0) experts.unsupported("num_experts", "0 (dense)");
}

void read_layers(const ConfigReader& reader, ModelConfig& config) {
  config.num_layers = reader.required("num_hidden_layers", 1024);
  const JsonObject& holder = reader.having("layer_types");
  const json* types = holder.find("layer_types");
  if (types == nullptr) {
    const int64_t interval = reader.integer_or("full_attention_interval", 4, 1, 1024);
    for (int64_t i = 0; i < config.num_layers; ++i) {
      const bool full = (i + 1) % interval == 0;
      config.layer_types.push_back(full ? LayerType::full_attention : LayerType::linear_attention);
    }
    return;
  }
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config.num_layers) {
    holder.bad("layer_types", "a list of num_hidden_layers = " + std::to_string(config.num_layers) + " names");
  }
  for (const json& type : *types) {
    // The second name of each is an older one, which transformers reads, too.
    if (is_text(type, "linear_attention") || is_text(type, "mamba")) {
      config.layer_types.push_back(LayerType::linear_attention);
    } else if (is_text(type, "full_attention") || is_text(type, "attention")) {
      config.layer_types.push_back(LayerType::full_attention);
    } else {
      holder.unsupported("layer_types", "linear_attention, full_attention");
    }
  }
}

/// The object with the parameters of the rotary embedding. transformers takes rope_scaling, the older name, for the
/// whole of them where both stand; either may hold an object for each type of layer.
std::optional<JsonObject> rope_object(const JsonObject& holder) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto object = holder.object(key);
    if (!object || object->value().empty()) continue;
    for (const char* layers : {"full_attention", "linear_attention"}) {
      if (object->find(layers) != nullptr) return object->object("full_attention");
    }
    return object;
  }
  return std::nullopt;
}

/// A number of the rotary embedding: among its parameters, or beside them.
std::optional<double> rope_number(const JsonObject& holder, std::string_view key, double min, double max) {
  const auto rope = rope_object(holder);
  const auto nested = rope ? rope->number(key, min, max) : std::nullopt;
  return nested ? nested : holder.number(key, min, max);
}

/// The numbers that no tensor's shape could contradict: here a wrong place must not go unnoticed. transformers and
/// mlx-lm look into text_config alone.
double unchecked_number(const ConfigReader& reader, std::string_view key, double min, double max, double fallback,
                        bool expected) {
  if (const auto value = rope_number(reader.text(), key, min, max)) return *value;
  const std::string used = json(fallback).dump() + " is used, as transformers does";
  if (reader.wrapped() && rope_number(reader.root(), key, min, max)) {
    reader.warn(std::string(key) + " stands outside text_config, where it does not count: " + used);
  } else if (expected) {
    reader.warn(std::string(key) + " is not stated: " + used);
  }
  return fallback;
}

void read_rope(const ConfigReader& reader, ModelConfig& config) {
  const auto rope = rope_object(reader.text());
  for (const char* type : {"rope_type", "type"}) {
    // mrope turns text as default does: it differs only in the positions of images.
    const std::string name = rope ? rope->text(type).value_or("default") : "default";
    if (name != "default" && name != "mrope") rope->unsupported(type, "default, mrope");
  }
  constexpr double kTheta = 10000;
  constexpr double kRotaryShare = 0.25;
  config.rope_theta = unchecked_number(reader, "rope_theta", 1.0, 1e12, kTheta, true);
  const double factor = unchecked_number(reader, "partial_rotary_factor", 0.0, 1.0, kRotaryShare, false);
  const double rotary = factor * static_cast<double>(config.head_dim);
  config.rotary_dim = std::llround(rotary);
  if (config.rotary_dim < 2 || config.rotary_dim % 2 != 0 ||
      std::fabs(static_cast<double>(config.rotary_dim) - rotary) > 1e-6) {
    const JsonObject& holder =
        rope && rope->find("partial_rotary_factor") != nullptr ? *rope : reader.having("partial_rotary_factor");
    holder.bad("partial_rotary_factor",
               "a share of head_dim = " + std::to_string(config.head_dim) + " that makes an even number of dims");
  }
}

// Where a number of heads or their width is missing, it is the default of transformers' class. The shapes of the
// tensors tell when that is not what the model was made with.

void read_attention(const ConfigReader& reader, ModelConfig& config) {
  config.num_attention_heads = reader.integer_or("num_attention_heads", 16, 1, 1024);
  config.num_key_value_heads = reader.integer_or("num_key_value_heads", 4, 1, 1024);
  config.head_dim = reader.integer_or("head_dim", 256, 1, 4096);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    reader.having("num_key_value_heads")
        .bad("num_key_value_heads", "a divisor of num_attention_heads = " + std::to_string(config.num_attention_heads));
  }
  read_rope(reader, config);
}

void read_delta_net(const ConfigReader& reader, ModelConfig& config) {
  config.linear_num_key_heads = reader.integer_or("linear_num_key_heads", 16, 1, 1024);
  config.linear_num_value_heads = reader.integer_or("linear_num_value_heads", 32, 1, 1024);
  config.linear_key_head_dim = reader.integer_or("linear_key_head_dim", 128, 1, 4096);
  config.linear_value_head_dim = reader.integer_or("linear_value_head_dim", 128, 1, 4096);
  config.linear_conv_kernel_dim = reader.integer_or("linear_conv_kernel_dim", 4, 1, 64);
  if (config.linear_num_value_heads % config.linear_num_key_heads != 0) {
    reader.having("linear_num_value_heads")
        .bad("linear_num_value_heads",
             "a multiple of linear_num_key_heads = " + std::to_string(config.linear_num_key_heads));
  }
}

/// An id or a list of ids; an unset key gives nothing. Ids that the model cannot say are left out, with a warning.
std::vector<int32_t> read_token_ids(const ConfigReader& reader, const JsonObject& object, std::string_view key,
                                    int64_t vocab) {
  const json* value = object.find(key);
  if (value == nullptr) return {};
  const std::string expected = "an id or at most 64 ids, from 0";
  std::vector<int32_t> ids;
  const auto add = [&](const json& id) {
    if (!id.is_number_unsigned()) object.bad(key, expected);
    if (id.get<uint64_t>() >= static_cast<uint64_t>(vocab)) {
      reader.warn(std::string(key) + " " + id.dump() +
                  (&object.value() == &reader.root().value() ? "" : " of " + object.where()) +
                  " lies beyond the vocabulary of " + std::to_string(vocab) + " and is left out");
      return;
    }
    ids.push_back(id.get<int32_t>());
  };
  if (!value->is_array()) {
    add(*value);
    return ids;
  }
  if (value->size() > 64) object.bad(key, expected);
  for (const json& id : *value) add(id);
  return ids;
}

void read_end_tokens(const fs::path& folder, const ConfigReader& reader, ModelConfig& config) {
  const fs::path generation = folder / "generation_config.json";
  std::error_code ignored;
  if (fs::exists(generation, ignored)) {
    json document = read_json_object(generation);
    const JsonGuard guard(document);
    config.eos_token_ids =
        read_token_ids(reader, JsonObject(document, generation.string()), "eos_token_id", config.vocab_size);
  }
  if (config.eos_token_ids.empty()) {
    config.eos_token_ids = read_token_ids(reader, reader.having("eos_token_id"), "eos_token_id", config.vocab_size);
  }
}

/// As transformers reads it: the root's flag counts, whose default is false. What text_config says is kept for the
/// loader, which sees whether there is a head.
void read_tying(const ConfigReader& reader, ModelConfig& config) {
  constexpr const char* kKey = "tie_word_embeddings";
  config.tying.root = reader.root().boolean(kKey);
  if (reader.wrapped()) config.tying.text = reader.text().boolean(kKey);
  config.tie_word_embeddings = config.tying.root.value_or(config.tying.text.value_or(false));
}

/// Says what the folder is instead, where that can be seen.
[[noreturn]] void fail_no_config(const fs::path& folder) {
  std::error_code ignored;
  std::string subfolder;
  std::string gguf;
  for (fs::directory_iterator item(folder, ignored), end; item != end; item.increment(ignored)) {
    const std::string name = item->path().filename().string();
    if (fs::exists(item->path() / "config.json", ignored) && (subfolder.empty() || name < subfolder)) subfolder = name;
    if (name.ends_with(".gguf") && (gguf.empty() || name < gguf)) gguf = name;
  }
  std::string what = "has no config.json, so it is no model folder";
  std::string remedy = "check the path or the model's name";
  if (!subfolder.empty()) {
    what = "has no config.json, but folders that have one";
    remedy = "name one of these: " + (folder / subfolder).string();
  } else if (!gguf.empty()) {
    what = "has no config.json, but " + gguf + ", the format of llama.cpp";
    remedy = "fetch the model's folder with config.json and safetensors files: prosa reads no other format";
  }
  throw Error(ErrorCode::not_found, what, folder.string(), remedy);
}

}  // namespace

ModelConfig read_config_file(const fs::path& file) {
  json document = read_json_object(file);
  const JsonGuard guard(document);
  const JsonObject root(document, file.string());
  const ConfigReader reader(root.object("text_config").value_or(root), root);
  check_architecture(reader);

  ModelConfig config;
  config.vocab_size = reader.required("vocab_size", int64_t{1} << 24);
  config.hidden_size = reader.required("hidden_size", 65536);
  config.intermediate_size = reader.required("intermediate_size", int64_t{1} << 20);
  read_layers(reader, config);
  read_attention(reader, config);
  read_delta_net(reader, config);
  config.rms_norm_eps = static_cast<float>(unchecked_number(reader, "rms_norm_eps", 1e-12, 1e-1, 1e-6, false));
  read_tying(reader, config);
  const int64_t max_seq_len = reader.integer_or("max_seq_len", 32768, 1, int64_t{1} << 40);
  config.max_position_embeddings = reader.integer_or("max_position_embeddings", max_seq_len, 1, int64_t{1} << 40);
  config.mtp_num_layers = reader.integer_or("mtp_num_hidden_layers", 0, 0, 64);
  read_quantization(reader, config);
  read_end_tokens(file.parent_path(), reader, config);
  config.warnings = reader.take_warnings();
  return config;
}

ModelConfig read_config(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorCode::not_found, "no such model folder", folder.string(), "check the path or the model's name");
  }
  if (!fs::exists(folder / "config.json", ignored)) fail_no_config(folder);
  return read_config_file(folder / "config.json");
}

}  // namespace prosa::checkpoint
