// What the checkpoint tests share: files made from bytes, copies of golden folders to damage, and looking at errors.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"
#include "prosa/error.h"
#include "temp_folder.h"

namespace prosa::checkpoint {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(PROSA_TEST_DATA) / "golden" / name;
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Length, header and `data_bytes` zeros.
inline std::string safetensors_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

/// Runs `action`, which must end in an Error of this code whose line holds every one of `parts`.
inline void expect_error(ErrorCode code, const std::vector<std::string>& parts, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), to_string(code)) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "no '" << part << "' in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "no error; expected " << to_string(code);
}

/// A golden folder's config and tensors, to be changed before they are written into a folder of their own.
class EditableModel {
 public:
  struct Tensor {
    TensorSpec spec;
    std::string bytes;
  };

  explicit EditableModel(const std::string& name) {
    config = nlohmann::json::parse(read_bytes(golden(name) / "config.json"));
    const auto file = SafetensorsFile::open(golden(name) / "model.safetensors");
    for (const TensorEntry& entry : file.entries()) {
      const auto data = file.data(entry);
      tensors.push_back({{entry.name, entry.type, entry.shape},
                         std::string(reinterpret_cast<const char*>(data.data()), data.size())});
    }
  }

  /// The only tensor whose name ends so.
  Tensor& tensor(const std::string& suffix) {
    for (Tensor& candidate : tensors) {
      if (candidate.spec.name.ends_with(suffix)) return candidate;
    }
    throw std::runtime_error("no tensor " + suffix);
  }
  void erase(const std::string& suffix) {
    std::erase_if(tensors, [&](const Tensor& candidate) { return candidate.spec.name.ends_with(suffix); });
  }
  void rename(const std::string& from, const std::string& to) {
    for (Tensor& candidate : tensors) {
      if (candidate.spec.name.starts_with(from)) candidate.spec.name = to + candidate.spec.name.substr(from.size());
    }
  }
  /// Tensors [begin, end) as one file.
  void write_file(const std::filesystem::path& path, size_t begin, size_t end) const {
    std::vector<TensorBytes> list;
    for (size_t i = begin; i < end; ++i) list.push_back({tensors[i].spec, std::as_bytes(std::span(tensors[i].bytes))});
    write_safetensors(path, list);
  }
  void write(const std::filesystem::path& folder) const {
    write_bytes(folder / "config.json", config.dump());
    write_file(folder / "model.safetensors", 0, tensors.size());
  }
  std::shared_ptr<const Weights> load() const {
    const TempFolder folder;  // the mapping outlives the folder's entry
    write(folder.path());
    return load_weights(folder.path());
  }

  nlohmann::json config;
  std::vector<Tensor> tensors;
};

}  // namespace prosa::checkpoint
