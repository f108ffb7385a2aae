// What the converter's tests share: conversions of golden folders, and looking at what was written.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/convert.h"
#include "checkpoint/convert_rules.h"
#include "checkpoint/model_files.h"
#include "checkpoint_fixture.h"
#include "model/dequantize.h"

namespace prosa::checkpoint {

struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
  friend bool operator==(const StoredTensor&, const StoredTensor&) = default;
};

/// Everything in the weight files of a folder.
inline std::map<std::string, StoredTensor> stored_tensors(const std::filesystem::path& folder) {
  const ModelFiles files = ModelFiles::open(folder);
  std::map<std::string, StoredTensor> tensors;
  for (const FileTensor& tensor : files.tensors()) {
    const auto data = tensor.data();
    tensors[tensor.entry->name] = {std::string(to_string(tensor.entry->type)), tensor.entry->shape,
                                   std::string(reinterpret_cast<const char*>(data.data()), data.size())};
  }
  return tensors;
}

/// Names and bytes of every file below a folder: to see that nothing has changed.
inline std::map<std::string, std::string> snapshot(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
    files[item.path().lexically_relative(folder).string()] = item.is_regular_file() ? read_bytes(item.path()) : "";
  }
  return files;
}

inline RulePlan rules(int bits, int group, const std::vector<std::string>& overrides = {}) {
  std::vector<FormatOverride> parsed;
  for (const std::string& text : overrides) parsed.push_back(FormatOverride::parse(text, group));
  return {bits, group, std::move(parsed)};
}

inline nlohmann::json json_of(const std::filesystem::path& file) { return nlohmann::json::parse(read_bytes(file)); }

/// The matrices of two folders read back as float32, row by row, must be the same numbers.
inline void expect_same_values(const Matrix& a, const Matrix& b) {
  ASSERT_EQ(a.rows, b.rows);
  ASSERT_EQ(a.cols, b.cols);
  std::vector<float> one(static_cast<size_t>(a.cols));
  std::vector<float> other(one.size());
  for (int64_t row = 0; row < a.rows; ++row) {
    dequantize_row(a, row, one.data());
    dequantize_row(b, row, other.data());
    ASSERT_EQ(one, other) << a.name << " row " << row;
  }
}

}  // namespace prosa::checkpoint
