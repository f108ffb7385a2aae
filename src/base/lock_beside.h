// A lock that keeps a file for one user at a time, in this process or another: flock() on ".NAME.lock" beside it.
//
// Not on the file itself, which every write replaces. The lock is advice: it binds those who take it. It goes with the
// process that holds it, however that ends, and its file is removed with it. Links to one file share one lock. Over NFS
// it holds between machines. A device or a pipe needs no lock.
//
// Invariants: a file of somebody else's under the lock's name is neither written to nor removed; a lock whose file has
// lost its name binds nobody any more, and require_held() says so.
#pragma once

#include <filesystem>

#include "base/descriptor.h"

namespace prosa {

enum class LockFor {
  keeping,  // for long: others are told at once
  writing,  // for one call: others wait for its end, up to kMaxLockWait
  reading,  // the same; where no lock can be made (a folder that is not ours), the file is read without
};

class LockBeside {
 public:
  /// Waits for others that read or write. Errors: busy (another keeps the file: its process number, if it is known), io
  /// (the lock's file can't be made, the file system has no locks, or, for keeping, the target can't be replaced).
  LockBeside(const std::filesystem::path& target, LockFor purpose);
  ~LockBeside();
  LockBeside(const LockBeside&) = delete;
  LockBeside& operator=(const LockBeside&) = delete;

  /// Before each write under a lock that is kept for long. Error(busy): the lock's file is gone or replaced, or
  /// `target` has become a link to another file, so that somebody else may have locked what would be written.
  void require_held(const std::filesystem::path& target) const;

 private:
  bool take(const std::filesystem::path& target, LockFor purpose);
  void sign(LockFor purpose) const;
  [[nodiscard]] bool still_named() const noexcept;

  std::filesystem::path path_;  // of the lock's file
  Descriptor file_;             // none: no lock is needed, or none can be had for reading
};

}  // namespace prosa
