// The safetensors files of a model folder as one set of tensors.
//
// Finds them (index with shards, model.safetensors, or the only *.safetensors; mtp.safetensors beside), opens them and
// indexes their tensors. Knows names only as text. Invariant: a tensor name stands in exactly one file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/safetensors.h"
#include "model/weights.h"

namespace prosa::checkpoint {

struct FileTensor {
  const format::SafetensorsFile* file = nullptr;
  const format::TensorEntry* entry = nullptr;
  [[nodiscard]] std::span<const std::byte> data() const { return file->data(*entry); }
};

class ModelFiles : public WeightStorage {
 public:
  /// Errors: not_found (folder, shard by name), bad_checkpoint, unsupported, io.
  static ModelFiles open(const std::filesystem::path& folder);

  [[nodiscard]] const std::vector<format::SafetensorsFile>& files() const noexcept { return files_; }
  void require_intact() const override;
  /// All tensors, file by file in file order.
  [[nodiscard]] std::vector<FileTensor> tensors() const;

 private:
  std::vector<format::SafetensorsFile> files_;
};

}  // namespace prosa::checkpoint
