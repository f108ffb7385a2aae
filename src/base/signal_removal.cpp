// A fixed table: a signal handler may neither allocate nor wait.
#include "base/signal_removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prosa {
namespace {

constexpr size_t kMaxRegisteredNames = 32;  // at the same time; a process writes a few files at once
constexpr size_t kMaxPathBytes = 1024;
constexpr int kMaxRounds = 3;  // other threads may still be writing

/// A name goes from `free` through `filling` to `registered`, and back. A handler that takes it never gives it back:
/// the process ends.
enum class Phase { free, filling, registered, taken };

struct Name {
  std::atomic<Phase> phase{Phase::free};
  std::array<char, kMaxPathBytes> path{};
  SignalRemoval::IsOurs ours = nullptr;  // null: a file
};
static_assert(std::atomic<Phase>::is_always_lock_free);

std::array<Name, kMaxRegisteredNames> registered_names;

/// opendir() allocates. 64-bit layout of the kernel's own call.
struct KernelEntry {
  uint64_t inode;
  int64_t next;
  uint16_t bytes;  // of this entry
  uint8_t type;
  char name[1];
};

void remove_files(int folder, SignalRemoval::IsOurs ours) noexcept {
  alignas(KernelEntry) std::array<char, 4096> buffer{};
  while (true) {
    const long count = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size());
    if (count <= 0) return;
    for (long at = 0; at < count;) {
      const char* const entry = buffer.data() + at;
      uint16_t bytes = 0;
      std::memcpy(&bytes, entry + offsetof(KernelEntry, bytes), sizeof bytes);
      const char* const name = entry + offsetof(KernelEntry, name);
      if (ours(name)) ::unlinkat(folder, name, 0);
      at += bytes;
    }
  }
}

void remove_folder(const char* path, SignalRemoval::IsOurs ours) noexcept {
  for (int round = 0; round < kMaxRounds; ++round) {
    const int folder = ::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) return;
    remove_files(folder, ours);
    ::close(folder);
    if (::rmdir(path) == 0) return;
  }
}

}  // namespace

void SignalRemoval::take(const std::filesystem::path& path, IsOurs ours) noexcept {
  release();
  const auto& text = path.native();
  if (text.size() >= kMaxPathBytes) return;
  for (size_t i = 0; i < registered_names.size(); ++i) {
    Phase free = Phase::free;
    if (!registered_names[i].phase.compare_exchange_strong(free, Phase::filling)) continue;
    std::memcpy(registered_names[i].path.data(), text.c_str(), text.size() + 1);
    registered_names[i].ours = ours;
    registered_names[i].phase = Phase::registered;
    slot_ = static_cast<int>(i);
    return;
  }
}

void SignalRemoval::release() noexcept {
  if (slot_ < 0) return;
  Phase registered = Phase::registered;
  registered_names[static_cast<size_t>(slot_)].phase.compare_exchange_strong(registered, Phase::free);
  slot_ = -1;
}

void remove_registered_names() noexcept {
  const int saved = errno;
  for (Name& name : registered_names) {
    Phase registered = Phase::registered;
    if (!name.phase.compare_exchange_strong(registered, Phase::taken)) continue;
    if (name.ours == nullptr) {
      ::unlink(name.path.data());
    } else {
      remove_folder(name.path.data(), name.ours);
    }
  }
  errno = saved;
}

}  // namespace prosa
