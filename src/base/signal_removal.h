// Names that a signal which ends the process has to remove: temporaries and staging folders under way.
//
// Without it they would lie about until the next writer of the same target finds them. The library installs no signal
// handler; a program that has one calls remove_registered_names() in it (cli/interrupt.cpp). Invariants: registering
// never fails and never allocates; what is no longer registered is never removed; the removal is async-signal-safe.
#pragma once

#include <filesystem>
#include <string_view>

namespace prosa {

class SignalRemoval {
 public:
  SignalRemoval() = default;
  ~SignalRemoval() { release(); }
  SignalRemoval(const SignalRemoval&) = delete;
  SignalRemoval& operator=(const SignalRemoval&) = delete;

  /// The file, from now on. A name that is too long, or one too many, stays unregistered.
  void file(const std::filesystem::path& path) noexcept { take(path, nullptr); }
  /// Of the folder the files whose names are `ours`, which must be async-signal-safe; then the folder, if it is empty.
  using IsOurs = bool (*)(std::string_view name) noexcept;
  void folder(const std::filesystem::path& path, IsOurs ours) noexcept { take(path, ours); }
  void release() noexcept;

 private:
  void take(const std::filesystem::path& path, IsOurs ours) noexcept;
  int slot_ = -1;  // none
};

/// Async-signal-safe. The process has to end behind it.
void remove_registered_names() noexcept;

}  // namespace prosa
