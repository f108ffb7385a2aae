// What config.json says about quantization: an object as MLX writes it, a label ("int4", "8bit"), or plain numbers.
//
// The statements are held against each other here, and against the tensors in tensor_set.cpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "checkpoint/config_reader.h"
#include "checkpoint/names.h"

namespace prosa::checkpoint {

namespace {

using nlohmann::json;

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

/// A mode whose bits and group are fixed, so that they need not stand there.
QuantizationSpec read_small_floats(const JsonObject& object, WeightCoding coding) {
  const WeightFormat format = WeightFormat::small_floats(coding);
  const std::string mode(to_string(coding));
  const auto hold = [&](const char* key, int only) {
    if (object.integer(key, 1, 1 << 20).value_or(only) != only) {
      object.unsupported(key, std::to_string(only) + " with mode " + mode);
    }
  };
  hold("bits", format.bits);
  hold("group_size", format.group_size);
  return {format.bits, format.group_size, coding};
}

/// {"bits"?, "group_size"?, "mode"?} of one module. Without bits, they are what the shapes of its tensors say.
QuantizationSpec read_entry(const JsonObject& object) {
  const std::string mode = object.text("mode").value_or("affine");
  for (const WeightCoding coding : {WeightCoding::mxfp4, WeightCoding::mxfp8, WeightCoding::nvfp4}) {
    if (mode == to_string(coding)) return read_small_floats(object, coding);
  }
  if (mode != "affine") object.unsupported("mode", "affine, mxfp4, mxfp8, nvfp4");
  const auto bits = object.integer("bits", 1, 64);
  return {bits ? checked_bits(object, "bits", *bits) : QuantizationSpec::kFromShapes,
          checked_group(object, "group_size", object.integer("group_size", 1, 1 << 20).value_or(64))};
}

/// The same for the whole model, where nothing but the bits says how it is quantized.
QuantizationSpec read_default(const JsonObject& object) {
  const QuantizationSpec spec = read_entry(object);
  if (spec.bits == QuantizationSpec::kFromShapes) object.missing("bits");
  return spec;
}

/// Whether prosa reads the module's tensors. Entries of others may say what they like.
bool is_read(std::string_view module) {
  const TensorRole role = canonical_name(module).role;
  return role == TensorRole::text || role == TensorRole::mtp;
}

void read_quantization_object(const JsonObject& object, ModelConfig& config) {
  const std::string method = object.text("quant_method").value_or("mlx");
  if (method != "mlx" && method != "affine") object.unsupported("quant_method", "MLX affine (bits, group_size)");
  config.quantized = true;
  config.quantization = read_default(object);
  for (const auto& [key, value] : object.value().items()) {
    if (!is_read(key)) continue;
    if (value.is_object()) {
      config.quantization_overrides[key] = read_entry(*object.object(key));
    } else if (value.is_boolean()) {
      config.quantization_overrides[key] = value.get<bool>() ? config.quantization : QuantizationSpec{};
    }
  }
}

}  // namespace

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

}  // namespace prosa::checkpoint
