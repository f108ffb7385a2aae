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
#include <stdexcept>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
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
inline void make_tiny_dense(const std::filesystem::path& folder, checkpoint::TensorType type) {
  std::filesystem::copy_file(golden_folder("tiny-hf") / "config.json", folder / "config.json");
  const auto source = checkpoint::SafetensorsFile::open(golden_folder("tiny-hf") / "model.safetensors");
  std::vector<std::vector<std::byte>> buffers;
  std::vector<checkpoint::TensorBytes> tensors;
  for (const checkpoint::TensorEntry& entry : source.entries()) {
    if (entry.type != checkpoint::TensorType::bf16) throw std::runtime_error(entry.name + " is not bfloat16");
    const std::span<const std::byte> from = source.data(entry);
    const size_t width = checkpoint::tensor_type_size(type);
    std::vector<std::byte>& to = buffers.emplace_back(from.size() / 2 * width);
    for (size_t i = 0; i < from.size() / 2; ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, from.data() + 2 * i, sizeof bits);
      const float value = bf16_to_float(bits);
      const uint16_t half = float_to_f16(value);
      std::memcpy(to.data() + i * width, type == checkpoint::TensorType::f32 ? static_cast<const void*>(&value) : &half,
                  width);
    }
    tensors.push_back({{entry.name, type, entry.shape}, {}});
  }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].data = buffers[i];
  checkpoint::write_safetensors(folder / "model.safetensors", tensors);
}

/// Quantizations and float types that no golden folder has.
inline std::vector<std::string> made_models() { return {"tiny-f16", "tiny-f32"}; }

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
      make_tiny_dense(folder, checkpoint::TensorType::f16);
    } else if (name == "tiny-f32") {
      make_tiny_dense(folder, checkpoint::TensorType::f32);
    } else {
      throw std::runtime_error("no test model named " + name);
    }
  }
  return model = checkpoint::load_weights(folder);
}

inline void synthesize_full_size(const std::filesystem::path&) {}

}  // namespace prosa::test
