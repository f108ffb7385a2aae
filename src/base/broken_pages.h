// What becomes of a mapped file whose pages can't be read any more: another program has cut it off, or its disk fails.
//
// The system then sends SIGBUS to the thread that touches the page, which would end the process. For the ranges that
// are registered here, a handler puts zeros in the place of the range from that page on, and remembers it: the reader
// goes on, and asks afterwards whether what it has read is the file (MappedFile::require_intact). Every other SIGBUS
// goes to whoever handled it before. The handler is installed with the first range and never again: an application
// that installs its own later has the last word, and loses this protection unless it calls the one it replaced.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace prosa {

/// Whether all of `part` lies in one watched range: then it is of a mapped file.
bool is_watched(std::span<const std::byte> part) noexcept;

/// A range of whole pages that is watched while the object lives. Its pages must stay mapped for as long.
class WatchedPages {
 public:
  WatchedPages() = default;
  /// Errors: out_of_memory.
  explicit WatchedPages(std::span<const std::byte> pages);
  ~WatchedPages();
  WatchedPages(WatchedPages&& other) noexcept;
  WatchedPages& operator=(WatchedPages&& other) noexcept;

  /// Whether a page of it could not be read.
  [[nodiscard]] bool broken() const noexcept;

  /// What the handler knows of a range. Entries are never freed, only used again: the handler may be looking at them.
  struct Entry {
    std::atomic<uintptr_t> begin = UINTPTR_MAX;  // UINTPTR_MAX: free
    std::atomic<uintptr_t> end = 0;
    std::atomic<bool> broken = false;
    std::atomic<bool> taken = true;
    Entry* next = nullptr;
  };

 private:
  Entry* entry_ = nullptr;
};

}  // namespace prosa
