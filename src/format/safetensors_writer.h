// Writes a safetensors file piece by piece, so that no tensor needs to be whole in memory.
//
// The layout (order, header bytes, padding) is that of the official writer. Invariant: the final path either keeps what
// it held or gets the complete file (base/atomic_file.h), and commit() accepts only every byte of every tensor.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "format/safetensors.h"

namespace prosa::format {

struct TensorSpec {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  /// Errors: invalid_argument (a name twice, a shape that overflows), io (with the system's reason).
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorSpec>& tensors,
                    const std::map<std::string, std::string>& metadata = {}, FileMode mode = FileMode::shared);

  /// `data` to `offset` bytes into tensor number `tensor` of the constructor's list. Each byte is written exactly once,
  /// in any order and from any thread.
  void write(size_t tensor, uint64_t offset, std::span<const std::byte> data);

  /// Makes the file appear under its name. Once, after all bytes are written.
  void commit();

  [[nodiscard]] uint64_t file_bytes() const noexcept { return file_bytes_; }

 private:
  struct Slot {
    uint64_t offset = 0;  // in the file
    uint64_t bytes = 0;
  };

  std::filesystem::path path_;
  std::optional<AtomicFile> file_;
  bool committed_ = false;
  std::vector<Slot> slots_;  // by number in the constructor's list
  uint64_t file_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  std::atomic<uint64_t> written_ = 0;
};

/// A tensor whose bytes are in memory.
struct TensorBytes {
  TensorSpec spec;
  std::span<const std::byte> data;
};

/// The whole file at once, for small things.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata = {}, FileMode mode = FileMode::shared);

}  // namespace prosa::format
