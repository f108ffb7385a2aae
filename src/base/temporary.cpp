// Random names, the lock of a living writer, and looking for what has none.
#include "base/temporary.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/random.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 200;  // of NAME: the whole stays below NAME_MAX
constexpr size_t kNumberDigits = 16;
constexpr std::string_view kSuffix = ".tmp";
constexpr int kMaxAttempts = 100;    // at a random name
constexpr time_t kLinkSeconds = 60;  // a link under a temporary's name lives for microseconds

std::string random_digits() {
  static_assert(kNumberDigits == 2 * sizeof(uint64_t));
  std::string digits;
  for (uint64_t number = random_number(); digits.size() < kNumberDigits; number >>= 4U) {
    digits += "0123456789abcdef"[number & 15U];
  }
  return digits;
}

std::string stem_of(const fs::path& path) { return path.filename().string().substr(0, kMaxNameBytes); }

/// Whether the file still has a name: somebody may have taken a temporary for a leftover before it was locked.
bool has_name(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && status.st_nlink > 0;
}

struct CloseFolder {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};

void remove_if_left(const fs::path& path) noexcept {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;
  if (S_ISLNK(status.st_mode)) {  // nothing that can be locked
    if (status.st_mtime < ::time(nullptr) - kLinkSeconds) ::unlink(path.c_str());
    return;
  }
  if (!S_ISREG(status.st_mode)) return;
  // For writing: over NFS a lock that excludes others needs it.
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat opened {};
  if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(file.get(), &opened) != 0) return;
  // Between the look and the lock the writer may have renamed it: the name, if it is there at all, must mean this file.
  if (::lstat(path.c_str(), &status) == 0 && status.st_ino == opened.st_ino && status.st_dev == opened.st_dev) {
    ::unlink(path.c_str());
  }
}

}  // namespace

std::optional<std::string_view> name_of_temporary(std::string_view file) noexcept {
  if (!file.starts_with('.') || !file.ends_with(kSuffix)) return std::nullopt;
  file = file.substr(1, file.size() - 1 - std::min(file.size() - 1, kSuffix.size()));
  if (file.size() <= kNumberDigits + 1 || file[file.size() - kNumberDigits - 1] != '.') return std::nullopt;
  if (file.substr(file.size() - kNumberDigits).find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  return file.substr(0, file.size() - kNumberDigits - 1);
}

fs::path temporary_beside(const fs::path& path) {
  return path.parent_path() / ("." + stem_of(path) + "." + random_digits() + std::string(kSuffix));
}

Temporary create_temporary(const fs::path& target, mode_t mode, SignalRemoval& removal) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Temporary made{temporary_beside(target), {}};
    removal.file(made.path);
    made.file = Descriptor(::open(made.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!made.file && errno != EEXIST) throw_io(target, "can't create", errno);
    if (!made.file) continue;
    // Somebody who holds the lock is removing it as a leftover. Other errors: the file system has no locks.
    const bool taken = ::flock(made.file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!taken && has_name(made.file.get())) return made;
  }
  throw_io(target, "can't create", EEXIST);
}

void remove_leftovers(const fs::path& folder, const std::function<bool(std::string_view name)>& is_ours) noexcept {
  try {
    // Not the library's directory_iterator, which ends the process where there is no memory for it.
    const fs::path place = folder.empty() ? fs::path(".") : folder;
    const std::unique_ptr<DIR, CloseFolder> entries(::opendir(place.c_str()));
    if (!entries) return;
    size_t looked_at = 0;
    while (const dirent* const entry = ::readdir(entries.get())) {
      if (++looked_at > kMaxLookedAt) return;
      const std::string file = entry->d_name;
      if (const auto name = name_of_temporary(file); name && is_ours(*name)) remove_if_left(place / file);
    }
  } catch (const std::exception&) {  // no memory: they stay until the next time
  }
}

void remove_leftovers_of(const fs::path& target) noexcept {
  try {
    remove_leftovers(target.parent_path(), [stem = stem_of(target)](std::string_view name) { return name == stem; });
  } catch (const std::exception&) {  // no memory: they stay until the next time
  }
}

}  // namespace prosa
