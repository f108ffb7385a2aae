// Reading whole files, and what everything that works with files on disk shares: the error of a refused call, and names
// that survive a power cut.
//
// Files of many megabytes are mapped (mmap.h), new files are written by atomic_file.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
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

/// Asks the system to write down the names in `folder`. A folder that can't be synced is no reason to fail.
void sync_folder(const std::filesystem::path& folder);

}  // namespace prosa
