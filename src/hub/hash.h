// The two hashes that name a file of a hub cache: SHA-256 of its bytes (large files), or git's SHA-1 of a blob.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace prosa::hub {

enum class HashKind {
  none,      // an etag of some other server: nothing to compare with
  git_sha1,  // 40 hexadecimal digits
  sha256,    // 64
};
HashKind hash_kind(std::string_view etag) noexcept;

/// Fed with a file's bytes in order.
class FileHash {
 public:
  /// `size`: of the whole file; git's hash begins with it.
  FileHash(HashKind kind, uint64_t size);
  ~FileHash();
  FileHash(FileHash&&) noexcept;
  FileHash& operator=(FileHash&&) noexcept;

  void update(std::span<const std::byte> bytes);
  /// Lower-case hexadecimal; "" for HashKind::none. Once.
  [[nodiscard]] std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Of a file on disk. Errors: not_found, io.
std::string hash_file(const std::filesystem::path& file, HashKind kind);

}  // namespace prosa::hub
