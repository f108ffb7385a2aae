// Replacing a file: readers see the old one or all of the new one, never a part.
//
// Every file that prosa writes goes through here, but for a download under way (hub/download.cpp says why). What is
// written goes into a temporary beside the target (temporary.h) and takes the target's name in commit(), after it is on
// disk. Without commit(), or after any error, the temporary is removed and the old file is untouched; what a process
// that died has left of this target is removed first. A link stays a link: the file it points to is replaced. A target
// that is no regular file (a device, a pipe, this process's own standard output) is never renamed over: its bytes are
// collected and written to it in commit(). Not for files that are changed in place, nor for folders
// (checkpoint/staging_folder.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/descriptor.h"
#include "base/signal_removal.h"

namespace prosa {

/// Who may read a new file: what the umask leaves of rw-r--r-- (a file that is replaced keeps its own permissions), or
/// its owner alone (conversations).
enum class FileMode { shared, owner_only };

class AtomicFile {
 public:
  /// Errors: io (path and reason): the folder is not there or not writable, the target is a folder or read-only.
  explicit AtomicFile(const std::filesystem::path& target, FileMode mode = FileMode::shared);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Says at once when the disk is too small, where the file system can tell. Error(io).
  void reserve(uint64_t bytes);
  /// Behind what write() has written so far. Error(io).
  void write(std::span<const std::byte> data);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Anywhere in the file, from any thread. Error(io).
  void write_at(uint64_t offset, std::span<const std::byte> data) const;
  /// Makes the file appear under its name. Once, last. Error(io).
  void commit();

 private:
  void open_stream(const std::filesystem::path& target);
  void copy_to_stream() const;

  std::filesystem::path target_;     // what links lead to
  std::filesystem::path temporary_;  // empty: none has to be removed
  bool stream_ = false;              // the target is no regular file
  Descriptor own_output_;            // the target, where it is a descriptor of this process
  Descriptor file_;
  SignalRemoval removal_;  // of the temporary
  uint64_t end_ = 0;       // of what write() has written
};

/// `text` as the whole content of the file. Error(io).
void replace_file(const std::filesystem::path& target, std::string_view text, FileMode mode = FileMode::shared);

enum class TargetKind {
  absent,  // nothing is there yet
  file,
  stream,  // a device, a pipe, an open descriptor of this process
};

struct ResolvedTarget {
  std::filesystem::path path;  // what links lead to
  TargetKind kind = TargetKind::absent;
};

/// What a file of this name would replace or write to. Error(io): a folder, links without an end, or a file that is
/// named by a descriptor of another process.
ResolvedTarget resolve_target(const std::filesystem::path& target);

/// What AtomicFile can know beforehand. Error(io), where `target`: the file may not be written, or is a mount of its
/// own, which no other file can replace.
void require_replaceable(const ResolvedTarget& resolved, const std::filesystem::path& target);

}  // namespace prosa
