// Writes a safetensors file piece by piece, so that no tensor needs to be whole in memory.
//
// The layout (order, header bytes, padding) is that of the official writer. Invariant: the final path either keeps what
// it held or gets the complete file: data goes to "<path>.tmp", and commit() syncs and renames it only after every byte
// of every tensor was written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/safetensors.h"

namespace prosa::format {

struct TensorSpec {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<int64_t> shape;
};

/// Who may read a new file: what the umask leaves of rw-r--r--, or its owner alone (conversations).
enum class FileMode { shared, owner_only };

class SafetensorsWriter {
 public:
  /// Errors: invalid_argument (a name twice, a shape that overflows), io (with the system's reason).
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorSpec>& tensors,
                    const std::map<std::string, std::string>& metadata = {}, FileMode mode = FileMode::shared);
  ~SafetensorsWriter();  // without commit(): removes the unfinished file
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

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
  void write_at(uint64_t offset, std::span<const std::byte> data) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
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

/// A small text file with the same promise: complete or not there.
void write_text_file(const std::filesystem::path& path, std::string_view text);

}  // namespace prosa::format
