// StateStore that outlive the process: a folder with a file for each, and a limit on their bytes.
//
// A cache: what can't be read or written is not there, and no error of the caller's. Files that are damaged are
// removed, and so is what a process that died while writing has left. Several processes may share a folder: files
// appear whole (session_file.h). Thread safety: one call at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "runtime/session_file.h"
#include "runtime/state_store.h"

namespace prosa::runtime {

class DiskCache {
 public:
  /// Makes the folder. Error(io) when it can't: whoever names a folder wants it used.
  DiskCache(std::filesystem::path folder, int64_t byte_limit, FileIdentity identity);

  /// Puts the state of exactly these tokens into `store`, if it is on disk and not there yet.
  void fetch(StateStore& store, backend::Backend& backend, std::span<const int32_t> tokens);
  /// Writes the state of exactly these tokens, if there is one and it is not on disk yet; then removes the files
  /// unused for longest until the limit is met.
  void keep(StateStore& store, std::span<const int32_t> tokens);

 private:
  [[nodiscard]] std::filesystem::path path_of(std::span<const int32_t> tokens) const;
  void trim(const std::filesystem::path& newest);

  const std::filesystem::path folder_;
  const int64_t byte_limit_;
  const FileIdentity identity_;
};

}  // namespace prosa::runtime
