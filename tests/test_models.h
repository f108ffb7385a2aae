// The models that tests run on, by name: golden folders as they are, and others made on the fly in a temporary folder.
//
// Made: "grouped-hf" (its weights follow from the synthetic rule, seed 2), "tiny-mtp" (tiny-hf with its MTP head beside
// it), tiny-hf in other float types, and synthetic quantizations the golden folders lack. Each is loaded once a
// process.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/synth.h"
#include "format/safetensors_writer.h"
#include "golden.h"
#include "model/weights.h"
#include "prosa/error.h"

namespace prosa::test {

/// The code of the Error that `call` throws; nothing when it returns. Other exceptions pass.
template <typename Call>
std::optional<ErrorCode> error_code(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

/// Letters, digits and underscores only, as GoogleTest wants parameter names.
inline std::string test_name(std::string text) {
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain) c = '_';
  }
  return text;
}

/// A folder of this process's own, removed at its end.
class TempFolder {
 public:
  TempFolder() : path_(std::filesystem::temp_directory_path() / ("prosa-test-models-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// tiny-hf with the MTP head beside it.
inline void make_tiny_mtp(const std::filesystem::path& folder) {
  for (const char* file : {"config.json", "model.safetensors"}) {
    std::filesystem::copy_file(golden_folder("tiny-hf") / file, folder / file);
  }
  std::filesystem::copy_file(golden_folder("tiny-mtp") / "mtp.safetensors", folder / "mtp.safetensors");
}

/// tiny-hf with every bfloat16 tensor written as `type`, f16 or f32.
inline void make_tiny_dense(const std::filesystem::path& folder, format::TensorType type) {
  std::filesystem::copy_file(golden_folder("tiny-hf") / "config.json", folder / "config.json");
  const auto source = format::SafetensorsFile::open(golden_folder("tiny-hf") / "model.safetensors");
  std::vector<std::vector<std::byte>> buffers;
  std::vector<format::TensorBytes> tensors;
  for (const format::TensorEntry& entry : source.entries()) {
    if (entry.type != format::TensorType::bf16) throw std::runtime_error(entry.name + " is not bfloat16");
    const std::span<const std::byte> from = source.data(entry);
    const size_t width = format::tensor_type_size(type);
    std::vector<std::byte>& to = buffers.emplace_back(from.size() / 2 * width);
    for (size_t i = 0; i < from.size() / 2; ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, from.data() + 2 * i, sizeof bits);
      const float value = bf16_to_float(bits);
      const uint16_t half = float_to_f16(value);
      std::memcpy(to.data() + i * width, type == format::TensorType::f32 ? static_cast<const void*>(&value) : &half,
                  width);
    }
    tensors.push_back({{entry.name, type, entry.shape}, {}});
  }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].data = buffers[i];
  format::write_safetensors(folder / "model.safetensors", tensors);
}

/// Dimensions that divide by nothing convenient: tails of rows, tiles and rotary parts; key heads narrower than value
/// heads; a kernel of 3.
inline ModelConfig odd_config() {
  ModelConfig config = checkpoint::synth_preset("tiny");
  config.vocab_size = 515;
  config.hidden_size = 96;
  config.intermediate_size = 208;
  config.num_attention_heads = 3;
  config.num_key_value_heads = 1;
  config.head_dim = 48;
  config.rotary_dim = 12;
  config.linear_num_key_heads = 1;
  config.linear_num_value_heads = 3;
  config.linear_key_head_dim = 32;
  config.linear_value_head_dim = 48;
  config.linear_conv_kernel_dim = 3;
  config.tie_word_embeddings = false;
  return config;
}

/// What no golden folder has, by name: "tiny-<float type>", "odd", and "<config>-<bits>bit-g<group size>".
inline std::vector<std::string> made_models() {
  return {"tiny-f16",       "tiny-f32",       "odd",
          "odd-4bit-g32",   "odd-3bit-g32",   "tiny-2bit-g32",
          "tiny-3bit-g32",  "tiny-5bit-g32",  "tiny-6bit-g32",
          "tiny-8bit-g32",  "tiny-2bit-g64",  "tiny-3bit-g64",
          "tiny-2bit-g128", "tiny-3bit-g128", "tiny-4bit-g128",
          "tiny-5bit-g128", "tiny-6bit-g128", "tiny-8bit-g128"};
}

/// By the synthetic rule; the columns that a group size does not divide stay bfloat16.
inline void make_synthetic(const std::filesystem::path& folder, const std::string& name) {
  checkpoint::SynthOptions options;
  options.threads = 1;
  if (name == "grouped-hf") {
    options.seed = 2;
    checkpoint::synthesize(checkpoint::synth_preset("grouped"), folder, options);
    return;
  }
  std::smatch parts;
  if (!std::regex_match(name, parts, std::regex("(tiny|odd)(-([0-9])bit-g([0-9]+))?"))) {
    throw std::runtime_error("no test model named " + name);
  }
  options.seed = 5;
  if (parts[2].matched) {
    options.bits = std::stoi(parts[3]);
    options.group_size = std::stoi(parts[4]);
  }
  checkpoint::synthesize(parts[1] == "odd" ? odd_config() : checkpoint::synth_preset("tiny"), folder, options);
}

/// By name; throws for an unknown one.
inline std::shared_ptr<const Weights> load_model(const std::string& name) {
  static const TempFolder temp;
  static std::map<std::string, std::shared_ptr<const Weights>> loaded;
  std::shared_ptr<const Weights>& model = loaded[name];
  if (model) return model;
  std::filesystem::path folder = golden_folder(name);
  if (!std::filesystem::exists(folder / "model.safetensors")) {
    folder = temp.path() / name;
    std::filesystem::create_directories(folder);
    if (name == "tiny-mtp") {
      make_tiny_mtp(folder);
    } else if (name == "tiny-f16") {
      make_tiny_dense(folder, format::TensorType::f16);
    } else if (name == "tiny-f32") {
      make_tiny_dense(folder, format::TensorType::f32);
    } else {
      make_synthetic(folder, name);
    }
  }
  return model = checkpoint::load_weights(folder);
}

/// qwen3.5-0.8b by the synthetic rule, seed 1, in `folder`: 1.5 GB, made once and kept.
inline void synthesize_full_size(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder)) return;
  const std::filesystem::path unfinished = folder.string() + "." + std::to_string(getpid());
  checkpoint::synthesize(checkpoint::synth_preset("qwen3.5-0.8b"), unfinished, {});
  std::filesystem::rename(unfinished, folder);
}

}  // namespace prosa::test
