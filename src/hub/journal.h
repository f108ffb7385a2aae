// Which bytes of a file under way are on disk: a small file beside it, so that a download killed with several pieces in
// flight goes on with what each of them lacks.
//
// Not a promise after a power cut (nothing is synced): the hash of the whole file has the last word. Invariant: a byte
// counts as done only after it was written to the file itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "hub/file.h"

namespace prosa::hub {

/// The file is cut into pieces of equal length, the last maybe shorter; each is filled from its beginning. Different
/// pieces may be recorded by different threads at once.
class Journal {
 public:
  /// Goes on with the journal at `path` if it is one of a file of `size` bytes, whatever its piece length; else begins
  /// one with nothing done. `held`: length of the file that it tells of; done bytes beyond it make it start over.
  Journal(const std::filesystem::path& path, uint64_t size, uint64_t piece_bytes, uint64_t held);

  [[nodiscard]] uint64_t pieces() const noexcept { return done_.size(); }
  [[nodiscard]] uint64_t begin(uint64_t piece) const noexcept { return piece * piece_bytes_; }
  [[nodiscard]] uint64_t length(uint64_t piece) const noexcept;
  [[nodiscard]] uint64_t done(uint64_t piece) const noexcept { return done_[piece].load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t total_done() const noexcept;
  /// Bytes from the file's beginning without a gap.
  [[nodiscard]] uint64_t prefix() const noexcept;

  /// `piece` now has `done` bytes.
  void record(uint64_t piece, uint64_t done);
  /// The first `bytes` of the file are there, whoever wrote them.
  void adopt_prefix(uint64_t bytes);
  void clear();

 private:
  bool read(uint64_t held);
  void start(uint64_t piece_bytes);

  File file_;
  uint64_t size_;
  uint64_t piece_bytes_ = 0;
  std::vector<std::atomic<uint64_t>> done_;
};

}  // namespace prosa::hub
