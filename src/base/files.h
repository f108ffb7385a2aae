// Reading whole files, and what everything that works with files on disk shares: the error of a refused call, writing
// all of some bytes, and names that survive a power cut.
//
// Files of many megabytes are mapped (mmap.h), new files are written by atomic_file.h.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "prosa/error.h"

namespace prosa {

/// The whole of a regular file. Errors: not_found; io (not a regular file, or what the system says); `too_large`, a
/// code of the caller's choice, for more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, size_t max_bytes,
                      ErrorCode too_large = ErrorCode::invalid_argument);

/// The same, but nothing when there is no such file.
std::optional<std::string> read_optional_file(const std::filesystem::path& path, size_t max_bytes,
                                              ErrorCode too_large = ErrorCode::invalid_argument);

/// Error(io): "ACTION: what the system says of errno `error`", where PATH; with a remedy when the disk is full.
[[noreturn]] void throw_io(const std::filesystem::path& path, const char* action, int error);

/// While it lives, a write of this thread beyond the limit on file sizes (ulimit -f) fails with EFBIG. Otherwise the
/// system would send SIGXFSZ, which ends the whole process. errno stays what it was.
class FileLimitAsError {
 public:
  FileLimitAsError() noexcept;
  ~FileLimitAsError();
  FileLimitAsError(const FileLimitAsError&) = delete;
  FileLimitAsError& operator=(const FileLimitAsError&) = delete;

 private:
  sigset_t before_;  // the thread's blocked signals
};

/// All of `data` into an open file: at `offset`, or where the descriptor stands. 0, or the errno that stopped it; a
/// limit on file sizes is EFBIG.
[[nodiscard]] int write_fully(int descriptor, std::span<const std::byte> data, std::optional<uint64_t> offset) noexcept;

/// Asks the system to write down the names in `folder`. A folder that can't be synced is no reason to fail.
void sync_folder(const std::filesystem::path& folder);

}  // namespace prosa
