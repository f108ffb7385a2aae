// A model folder that appears complete or not at all: made beside its place, under a hidden name, and renamed.
//
// Knows nothing of what is written into it. Invariants: the source's files are never touched, a folder that is no
// checkpoint is never replaced, whenever it appears, and two processes never write the same one. Nothing is ever
// removed but model files and the temporaries that their writers leave.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/signal_removal.h"

namespace prosa::checkpoint {

class StagingFolder {
 public:
  /// Checks that `destination` may come to be: it is not there, or an empty folder, or, with `replace`, a checkpoint
  /// (config.json and weights, no subfolder, no foreign file); it neither holds nor lies in `source`. Makes the hidden
  /// folder beside it, parents too. Errors: invalid_argument, io (also: another process writes the same folder, or the
  /// disk has less than `bytes` free).
  StagingFolder(const std::filesystem::path& destination, const std::filesystem::path& source, bool replace,
                int64_t bytes);
  ~StagingFolder();  // without commit(): nothing of it stays
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return staging_; }
  /// Where it will be.
  [[nodiscard]] const std::filesystem::path& destination() const noexcept { return destination_; }

  /// The folder appears under its name; what it replaces is removed. Once. Errors: those of the constructor, where the
  /// destination has changed meanwhile; io.
  void commit();

 private:
  void make_parents();
  void remove_parents() noexcept;  // those that are empty
  void lock();
  void replace_old();
  [[nodiscard]] bool still_named() const noexcept;

  bool replace_;
  std::filesystem::path destination_;  // links resolved
  std::filesystem::path staging_;
  std::vector<std::filesystem::path> made_parents_;  // outermost first
  int fd_ = -1;                                      // of the staging folder, locked
  SignalRemoval removal_;                            // of the staging folder
};

}  // namespace prosa::checkpoint
