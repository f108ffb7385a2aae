// Temporaries beside a target: hidden files under random names that become the target by rename().
//
// Each is locked (flock) by whoever writes it for as long as it has its name. A process that dies loses its locks, so a
// temporary that can be locked has no writer any more: whoever finds it removes it. On a file system without locks
// nothing is removed. Not a way to publish files (atomic_file.h).
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "base/descriptor.h"
#include "base/signal_removal.h"

namespace prosa {

struct Temporary {
  std::filesystem::path path;
  Descriptor file;  // for writing; the lock is held until it and its copies are closed
};

/// A new file beside `target`, for writing. No other file is opened, whatever stands under its name. Its name is
/// registered in `removal` before it is there: a signal at any moment finds it. Error(io).
Temporary create_temporary(const std::filesystem::path& target, mode_t mode, SignalRemoval& removal);

/// A name for one in the folder of `path` that nothing has: ".NAME.<16 hexadecimal digits>.tmp".
std::filesystem::path temporary_beside(const std::filesystem::path& path);

/// NAME, where a file is called as above; otherwise nothing.
std::optional<std::string_view> name_of_temporary(std::string_view file) noexcept;

/// Removes what dead processes have left in `folder` of the temporaries that `is_ours` knows by their NAME. It looks at
/// the first kMaxLookedAt names of the folder only, so that its work is bounded.
inline constexpr size_t kMaxLookedAt = 10'000;
void remove_leftovers(const std::filesystem::path& folder,
                      const std::function<bool(std::string_view name)>& is_ours) noexcept;

/// Those of one target.
void remove_leftovers_of(const std::filesystem::path& target) noexcept;

}  // namespace prosa
