// The safetensors files of a model folder as one set of tensors.
//
// What is there decides, an index is only a help (hub/manifest.h has the rule). Opens the files and lists their
// tensors. Knows names only as text. That a tensor stands in exactly one file is the business of TensorSet.
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
  /// What was odd about them, in whole sentences that name the place.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  void require_intact() const override;
  /// All tensors, file by file in file order.
  [[nodiscard]] std::vector<FileTensor> tensors() const;

 private:
  std::vector<format::SafetensorsFile> files_;
  std::vector<std::string> warnings_;
};

}  // namespace prosa::checkpoint
