// The safetensors format: a reader over a mapped file, and what reader and writer share.
//
// File = 8 bytes little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, data. The reader checks
// everything before it returns: after open() each tensor lies inside the file, has exactly shape x dtype bytes, and the
// tensors cover the data section without overlap or hole (as the format demands). It knows nothing about models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/keyed_hash.h"
#include "base/mmap.h"

namespace prosa::format {

inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

// In the order in which the official writer sorts (last first).
enum class TensorType {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};
std::string_view to_string(TensorType type) noexcept;  // "BF16", as it stands in the header
std::optional<TensorType> parse_tensor_type(std::string_view name) noexcept;
/// Bytes of one number. Types of less than a byte, which are only skipped over, have none: tensor_type_bits().
uint64_t tensor_type_size(TensorType type) noexcept;
uint64_t tensor_type_bits(TensorType type) noexcept;

/// "[512, 128]", for messages.
std::string shape_string(std::span<const int64_t> shape);

struct TensorEntry {
  std::string name;
  TensorType type = TensorType::u8;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the start of the data section
  uint64_t bytes = 0;   // of all its numbers
};

/// Product of the dimensions times the size of a number; nothing when a dimension is negative, the bits exceed 2^62, or
/// they end within a byte.
std::optional<uint64_t> tensor_bytes(std::span<const int64_t> shape, TensorType type) noexcept;

class SafetensorsFile {
 public:
  /// Errors: not_found, io, bad_checkpoint (file, tensor, what is wrong), unsupported (an unknown dtype).
  static SafetensorsFile open(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const std::vector<TensorEntry>& entries() const noexcept { return entries_; }  // in file order
  [[nodiscard]] const TensorEntry* find(std::string_view name) const;
  /// `entry` is one of entries(). May be unaligned.
  [[nodiscard]] std::span<const std::byte> data(const TensorEntry& entry) const;
  /// Error(io) when what data() shows is no longer the file: to be called after reading, before the result is used.
  void require_intact() const { file_.require_intact(); }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  uint64_t data_start_ = 0;
  std::vector<TensorEntry> entries_;
  KeyedMap<size_t> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace prosa::format
