// Reads the golden vectors of tests/data/golden (README there): what the official implementation computed.
//
// Not a general tensor reader: every tensor in these files is F32 or I32. A missing tensor throws, so a test can't pass
// on nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "format/safetensors.h"

namespace prosa::test {

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(PROSA_TEST_DATA) / "golden" / name;
}

/// One expected.safetensors.
class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(format::SafetensorsFile::open(golden_folder(name) / "expected.safetensors")) {}

  [[nodiscard]] bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  [[nodiscard]] std::vector<float> floats(const std::string& name) const {
    return values<float>(name, format::TensorType::f32);
  }
  [[nodiscard]] std::vector<int32_t> ids(const std::string& name) const {
    return values<int32_t>(name, format::TensorType::i32);
  }
  /// The N of every prompt_N, ascending.
  [[nodiscard]] std::vector<int> prompts() const {
    const std::string prefix = "prompt_";
    std::vector<int> lengths;
    for (const format::TensorEntry& entry : file_.entries()) {
      if (!entry.name.starts_with(prefix) || !entry.name.ends_with(".input_ids")) continue;
      lengths.push_back(std::stoi(entry.name.substr(prefix.size())));
    }
    std::ranges::sort(lengths);
    if (lengths.empty()) throw std::runtime_error("no prompts in " + file_.path().string());
    return lengths;
  }

 private:
  template <typename T>
  [[nodiscard]] std::vector<T> values(const std::string& name, format::TensorType type) const {
    const format::TensorEntry* entry = file_.find(name);
    if (entry == nullptr || entry->type != type) {
      throw std::runtime_error("no tensor " + name + " of the expected type in " + file_.path().string());
    }
    const std::span<const std::byte> bytes = file_.data(*entry);
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }

  format::SafetensorsFile file_;
};

}  // namespace prosa::test
