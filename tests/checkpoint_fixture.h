// What the checkpoint tests share: copies of golden folders to damage.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"
#include "prosa/error.h"
#include "temp_folder.h"
#include "test_files.h"

namespace prosa::checkpoint {

using test::expect_error;
using test::golden;
using test::read_bytes;
using test::safetensors_bytes;
using test::write_bytes;

/// A golden folder's config and tensors, to be changed before they are written into a folder of their own.
class EditableModel {
 public:
  struct Tensor {
    format::TensorSpec spec;
    std::string bytes;
  };

  explicit EditableModel(const std::string& name) {
    config = nlohmann::json::parse(read_bytes(golden(name) / "config.json"));
    const auto file = format::SafetensorsFile::open(golden(name) / "model.safetensors");
    for (const format::TensorEntry& entry : file.entries()) {
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
    std::vector<format::TensorBytes> list;
    for (size_t i = begin; i < end; ++i) list.push_back({tensors[i].spec, std::as_bytes(std::span(tensors[i].bytes))});
    format::write_safetensors(path, list);
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
