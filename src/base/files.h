// What everything that publishes files on disk shares: the error of a refused call, and names that survive a power cut.
//
// Not the syncing of files: their writers do that, and report it when it fails.
#pragma once

#include <filesystem>

namespace prosa {

/// Error(io): "ACTION: what the system says of errno `error`", where PATH; with a remedy when the disk is full.
[[noreturn]] void throw_io(const std::filesystem::path& path, const char* action, int error);

/// Asks the system to write down the names in `folder`. A folder that can't be synced is no reason to fail.
void sync_folder(const std::filesystem::path& folder);

}  // namespace prosa
