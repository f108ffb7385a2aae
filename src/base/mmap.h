// A file mapped read-only into memory, unmapped when the object dies.
//
// Not a writer and not a cache: pages come from the file on first touch. Invariant: bytes() stays valid and unmoved as
// long as the object (or what it was moved into) lives. A file that another program truncates while it is mapped is
// outside of what can be caught here; nothing in prosa ever shortens a file in place.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace prosa {

class MappedFile {
 public:
  /// Errors: not_found, io (with the system's reason). Only regular files; an empty file has no bytes.
  static MappedFile open(const std::filesystem::path& path);

  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

/// Takes the pages of a part of a mapped file out of this process, not out of the system's cache: what streams through
/// a large file gives back what it has read. Reading the part again is allowed.
void release_pages(std::span<const std::byte> part) noexcept;

}  // namespace prosa
