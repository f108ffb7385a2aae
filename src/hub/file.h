// Files of the cache: opened without following a link at their name, read and written at offsets, whole or an Error.
//
// Also the lock that keeps two processes from one file. Invariant: what is written here under a final name was written
// beside it and renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

namespace prosa::hub {

/// An open file, closed when the object dies. Reads and writes may come from several threads.
class File {
 public:
  static File open_read(const std::filesystem::path& path);
  /// For reading and writing, made when it is not there. A link at `path` is an Error: it would lead elsewhere.
  static File open_write(const std::filesystem::path& path);

  File() = default;
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  [[nodiscard]] uint64_t size() const;
  void resize(uint64_t bytes) const;
  /// Bytes read: fewer than asked for at the end of the file only.
  [[nodiscard]] size_t read_at(uint64_t offset, std::span<std::byte> into) const;
  void write_at(uint64_t offset, std::span<const std::byte> bytes) const;
  /// Returns when all of it is on disk.
  void sync() const;

 private:
  friend class FileLock;
  File(int descriptor, std::filesystem::path path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_ = -1;
  std::filesystem::path path_;
};

/// flock() on a file of its own, as Python's filelock does it. Held until the object dies or the process ends.
class FileLock {
 public:
  /// Waits for another holder: `waiting` is called at once and then ten times a second, and may throw to give up.
  static FileLock acquire(const std::filesystem::path& path, const std::function<void()>& waiting);

 private:
  explicit FileLock(File file) : file_(std::move(file)) {}
  File file_;
};

void make_folders(const std::filesystem::path& folder);
/// The new name is on disk, too.
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);
/// No Error when it is not there.
void remove_file(const std::filesystem::path& file);
/// `text` as the whole content of `file`, complete or not there. A link of that name is replaced, not followed.
void write_small_file(const std::filesystem::path& file, std::string_view text);
/// `link` shows `target`, whatever was there before.
void replace_link(const std::filesystem::path& link, const std::filesystem::path& target);

}  // namespace prosa::hub
