// config.json in its dialects -> ModelConfig, every number bounded and cross-checked.
//
// Dialects: multimodal wrapper with `text_config` (Hugging Face, MLX), the bare text model (`qwen3_5_text`), and the
// flat one of small chat conversions (rope_theta and partial_rotary_factor at top level, quantization as a label).
// What a key means is looked up in the text object first, then at top level.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/json_object.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// The text object and the top level, asked in this order.
class ConfigReader {
 public:
  ConfigReader(JsonObject text, JsonObject root) : text_(std::move(text)), root_(std::move(root)) {}

  [[nodiscard]] const JsonObject& having(std::string_view key) const {
    return text_.find(key) != nullptr || root_.find(key) == nullptr ? text_ : root_;
  }
  [[nodiscard]] int64_t required(std::string_view key, int64_t max) const {
    const auto value = having(key).integer(key, 1, max);
    if (!value) text_.missing(key);
    return *value;
  }
  [[nodiscard]] int64_t integer_or(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
    return having(key).integer(key, min, max).value_or(fallback);
  }
  [[nodiscard]] const JsonObject& text() const noexcept { return text_; }
  [[nodiscard]] const JsonObject& root() const noexcept { return root_; }

 private:
  JsonObject text_;
  JsonObject root_;
};

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
    const int64_t interval = reader.required("full_attention_interval", 1024);
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
    if (is_text(type, "linear_attention")) {
      config.layer_types.push_back(LayerType::linear_attention);
    } else if (is_text(type, "full_attention")) {
      config.layer_types.push_back(LayerType::full_attention);
    } else {
      holder.unsupported("layer_types", "linear_attention, full_attention");
    }
  }
}

void read_attention(const ConfigReader& reader, ModelConfig& config) {
  config.num_attention_heads = reader.required("num_attention_heads", 1024);
  config.num_key_value_heads = reader.required("num_key_value_heads", 1024);
  config.head_dim = reader.required("head_dim", 4096);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    reader.having("num_key_value_heads")
        .bad("num_key_value_heads", "a divisor of num_attention_heads = " + std::to_string(config.num_attention_heads));
  }

  // rope_parameters is the newer name of rope_scaling; either may hold theta and the rotary share.
  JsonObject rope = reader.text();
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto object = reader.having(key).object(key);
    if (!object) continue;
    rope = *object;
    for (const char* type : {"rope_type", "type"}) {
      if (rope.text(type).value_or("default") != "default") rope.unsupported(type, "default");
    }
  }
  const auto either = [&](std::string_view key, double min, double max) {
    const auto nested = rope.number(key, min, max);
    return nested ? nested : reader.having(key).number(key, min, max);
  };
  const auto theta = either("rope_theta", 1.0, 1e12);
  if (!theta) reader.text().missing("rope_theta");
  config.rope_theta = *theta;
  const double factor = either("partial_rotary_factor", 0.0, 1.0).value_or(0.25);
  const double rotary = factor * static_cast<double>(config.head_dim);
  config.rotary_dim = std::llround(rotary);
  if (config.rotary_dim < 2 || config.rotary_dim % 2 != 0 ||
      std::fabs(static_cast<double>(config.rotary_dim) - rotary) > 1e-6) {
    const JsonObject& holder =
        rope.find("partial_rotary_factor") != nullptr ? rope : reader.having("partial_rotary_factor");
    holder.bad("partial_rotary_factor",
               "a share of head_dim = " + std::to_string(config.head_dim) + " that makes an even number of dims");
  }
}

void read_delta_net(const ConfigReader& reader, ModelConfig& config) {
  config.linear_num_key_heads = reader.required("linear_num_key_heads", 1024);
  config.linear_num_value_heads = reader.required("linear_num_value_heads", 1024);
  config.linear_key_head_dim = reader.required("linear_key_head_dim", 4096);
  config.linear_value_head_dim = reader.required("linear_value_head_dim", 4096);
  config.linear_conv_kernel_dim = reader.integer_or("linear_conv_kernel_dim", 4, 1, 64);
  if (config.linear_num_value_heads % config.linear_num_key_heads != 0) {
    reader.having("linear_num_value_heads")
        .bad("linear_num_value_heads",
             "a multiple of linear_num_key_heads = " + std::to_string(config.linear_num_key_heads));
  }
}

/// "int4", "8bit", "4-bit" -> bits; "none" and float types -> 0; nothing for anything else.
std::optional<int> bits_of_label(std::string_view label) {
  for (const std::string_view none : {"", "none", "bf16", "bfloat16", "f16", "fp16", "float16", "f32", "fp32"}) {
    if (label == none) return 0;
  }
  if (label.starts_with("int")) {
    label.remove_prefix(3);
  } else if (label.ends_with("bit")) {
    label.remove_suffix(3);
    if (label.ends_with("-")) label.remove_suffix(1);
  } else {
    return std::nullopt;
  }
  int bits = 0;
  const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), bits);
  if (error != std::errc() || end != label.data() + label.size() || bits <= 0) return std::nullopt;
  return bits;
}

constexpr const char* kKnownBits = "2, 3, 4, 5, 6, 8";
constexpr const char* kKnownGroups = "32, 64, 128";

int checked_bits(const JsonObject& object, std::string_view key, int64_t bits) {
  constexpr std::array<int64_t, 6> kBits{2, 3, 4, 5, 6, 8};
  if (std::ranges::find(kBits, bits) == kBits.end()) object.unsupported(key, kKnownBits);
  return static_cast<int>(bits);
}

int checked_group(const JsonObject& object, std::string_view key, int64_t group) {
  if (group != 32 && group != 64 && group != 128) object.unsupported(key, kKnownGroups);
  return static_cast<int>(group);
}

/// {"bits", "group_size"?, "mode"?}: of the whole model or of one module.
QuantizationSpec read_spec(const JsonObject& object) {
  if (object.text("mode").value_or("affine") != "affine") object.unsupported("mode", "affine");
  const auto bits = object.integer("bits", 1, 64);
  if (!bits) object.missing("bits");
  return {checked_bits(object, "bits", *bits),
          checked_group(object, "group_size", object.integer("group_size", 1, 1 << 20).value_or(64))};
}

void read_quantization_object(const JsonObject& object, ModelConfig& config) {
  const std::string method = object.text("quant_method").value_or("mlx");
  if (method != "mlx" && method != "affine") object.unsupported("quant_method", "MLX affine (bits, group_size)");
  config.quantized = true;
  config.quantization = read_spec(object);
  for (const auto& [key, value] : object.value().items()) {
    if (value.is_object()) {
      config.quantization_overrides[key] = read_spec(*object.object(key));
    } else if (value.is_boolean() && key.find('.') != std::string::npos) {
      config.quantization_overrides[key] = value.get<bool>() ? config.quantization : QuantizationSpec{};
    } else if (value.is_boolean() && (key == "lm_head" || key == "embed_tokens")) {
      config.quantization_overrides[key] = value.get<bool>() ? config.quantization : QuantizationSpec{};
    }
  }
}

void read_quantization(const ConfigReader& reader, ModelConfig& config) {
  std::optional<int> label_bits;
  for (const char* key : {"quantization", "quantization_config"}) {  // MLX writes the same object twice
    const JsonObject& holder = reader.having(key);
    const json* value = holder.find(key);
    if (value == nullptr) continue;
    if (value->is_string()) {
      label_bits = bits_of_label(value->get<std::string>());
      if (!label_bits) holder.unsupported(key, "int2 … int8, 2bit … 8bit, none");
      if (*label_bits != 0) checked_bits(holder, key, *label_bits);
    } else if (!config.quantized) {
      read_quantization_object(*holder.object(key), config);
    }
  }
  const JsonObject& holder = reader.having("quantization_bits");
  const auto bits = holder.integer("quantization_bits", 0, 64);
  const auto stated = bits ? bits : std::optional<int64_t>(label_bits);
  if (bits && label_bits && *bits != *label_bits) {
    holder.bad("quantization_bits", "the " + std::to_string(*label_bits) + " of the key quantization");
  }
  if (!stated || *stated == 0 || *stated == 16 || *stated == 32) return;
  if (config.quantized) {
    if (config.quantization.bits != *stated) {
      holder.bad("quantization_bits", "the bits of the key quantization, " + std::to_string(config.quantization.bits));
    }
    return;
  }
  const JsonObject& group_holder = reader.having("quantization_group_size");
  config.quantized = true;
  config.quantization = {checked_bits(holder, "quantization_bits", *stated),
                         checked_group(group_holder, "quantization_group_size",
                                       group_holder.integer("quantization_group_size", 1, 1 << 20).value_or(64))};
}

/// An id or a list of ids; an unset key gives nothing.
std::vector<int32_t> read_token_ids(const JsonObject& object, std::string_view key, int64_t vocab) {
  const json* value = object.find(key);
  if (value == nullptr) return {};
  const std::string expected = "an id or at most 64 ids in [0, vocab_size = " + std::to_string(vocab) + ")";
  std::vector<int32_t> ids;
  const auto add = [&](const json& id) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(vocab)) object.bad(key, expected);
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
    config.eos_token_ids = read_token_ids(JsonObject(document, generation.string()), "eos_token_id", config.vocab_size);
  }
  if (config.eos_token_ids.empty()) {
    config.eos_token_ids = read_token_ids(reader.having("eos_token_id"), "eos_token_id", config.vocab_size);
  }
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
  config.rms_norm_eps =
      static_cast<float>(reader.having("rms_norm_eps").number("rms_norm_eps", 1e-12, 1e-1).value_or(1e-6));
  config.tie_word_embeddings = reader.having("tie_word_embeddings").boolean("tie_word_embeddings").value_or(false);
  const int64_t max_seq_len = reader.integer_or("max_seq_len", 32768, 1, int64_t{1} << 40);
  config.max_position_embeddings = reader.integer_or("max_position_embeddings", max_seq_len, 1, int64_t{1} << 40);
  config.mtp_num_layers = reader.integer_or("mtp_num_hidden_layers", 0, 0, 64);
  read_quantization(reader, config);
  read_end_tokens(file.parent_path(), reader, config);
  return config;
}

ModelConfig read_config(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorCode::not_found, "no such model folder", folder.string(), "check the path or the model's name");
  }
  return read_config_file(folder / "config.json");
}

}  // namespace prosa::checkpoint
