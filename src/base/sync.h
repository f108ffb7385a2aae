// Making a rename survive a power cut.
//
// Not the syncing of files: their writers do that, and report it when it fails.
#pragma once

#include <filesystem>

namespace prosa {

/// Asks the system to write down the names in `folder`. A folder that can't be synced is no reason to fail.
void sync_folder(const std::filesystem::path& folder);

}  // namespace prosa
