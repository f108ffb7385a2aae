// A file mapped read-only into memory, unmapped when the object dies.
//
// Not a writer and not a cache: pages come from the file on first touch. Invariants: bytes() stays valid and unmoved as
// long as the object (or what it was moved into) lives. A file that another program cuts off while it is mapped reads
// as zeros from there on (broken_pages.h): who has read from bytes() calls require_intact() before using the result.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/broken_pages.h"
#include "base/descriptor.h"

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

  /// Error(io), where: the path it was opened by, when the file has been cut off or a page of it could not be read.
  void require_intact() const;

 private:
  std::filesystem::path path_;
  Descriptor file_;  // tells the file's size: within the last page, what is cut off reads as zeros without any signal
  std::span<const std::byte> bytes_;
  WatchedPages watched_;
};

/// Takes the pages of a part of a mapped file out of this process, not out of the system's cache: what streams through
/// a large file gives back what it has read. Reading the part again is allowed. No effect on any other memory.
void release_pages(std::span<const std::byte> part) noexcept;

}  // namespace prosa
