// The list of watched ranges and the handler of SIGBUS.
//
// The handler may interrupt any code: it reads atomics, calls mmap (a bare system call on Linux) and sigaction, and
// takes no lock. A fault inside a watched range means that its entry is complete and stays so, since the reader keeps
// the range alive; other entries may change meanwhile, and an entry that is half changed is an empty range.
#include "base/broken_pages.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <new>
#include <utility>

#include "prosa/error.h"

namespace prosa {
namespace {

using Entry = WatchedPages::Entry;
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free &&
              std::atomic<Entry*>::is_always_lock_free);

std::atomic<Entry*> first_entry = nullptr;
uintptr_t page_bytes = 0;          // set before the handler is installed
struct sigaction previous_action;  // the same

/// Zeros from the page of `address` to the end of its range. False: no range of ours, or no memory.
bool replace_pages(uintptr_t address) {
  for (Entry* entry = first_entry.load(std::memory_order_acquire); entry != nullptr; entry = entry->next) {
    const uintptr_t begin = entry->begin.load();
    const uintptr_t end = entry->end.load();
    // An entry that became another range between the two loads is not the one that is being read.
    if (address < begin || address >= end || entry->begin.load() != begin) continue;
    const uintptr_t page = address / page_bytes * page_bytes;
    entry->broken.store(true, std::memory_order_release);
    return ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0) != MAP_FAILED;
  }
  return false;
}

/// A signal that is none of ours, to whoever would have got it.
void pass_on(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_DFL) {
    // The access that faulted is repeated, or the signal sent again, and then ends the process as it always would.
    ::sigaction(signal, &previous_action, nullptr);
    if (info->si_code <= 0) ::raise(signal);
  } else if (previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  }
}

void handle_bus_error(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  // A code of 0 or less: sent by a process, there is no address.
  const bool ours = info->si_code > 0 && replace_pages(reinterpret_cast<uintptr_t>(info->si_addr));
  if (!ours) pass_on(signal, info, context);
  errno = saved;
}

void install_handler() {
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  ::sigaction(SIGBUS, nullptr, &previous_action);
  struct sigaction action {};
  action.sa_sigaction = handle_bus_error;
  action.sa_mask = previous_action.sa_mask;  // what the one before asked for holds for it still
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ::sigaction(SIGBUS, &action, nullptr);
}

/// A free entry, or a new one at the head of the list.
Entry* take_entry() {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  for (Entry* entry = first_entry.load(); entry != nullptr; entry = entry->next) {
    if (!entry->taken.exchange(true)) return entry;
  }
  auto* entry = new (std::nothrow) Entry;
  if (entry == nullptr) throw Error(ErrorCode::out_of_memory, "no memory for the record of a mapped file");
  entry->next = first_entry.load();
  first_entry.store(entry, std::memory_order_release);
  return entry;
}

}  // namespace

bool is_watched(std::span<const std::byte> part) noexcept {
  const auto first = reinterpret_cast<uintptr_t>(part.data());
  for (Entry* entry = first_entry.load(std::memory_order_acquire); entry != nullptr; entry = entry->next) {
    const uintptr_t begin = entry->begin.load();
    const uintptr_t end = entry->end.load();
    if (first >= begin && first + part.size() <= end && entry->begin.load() == begin) return true;
  }
  return false;
}

WatchedPages::WatchedPages(std::span<const std::byte> pages) {
  static std::once_flag once;
  std::call_once(once, install_handler);
  entry_ = take_entry();
  const auto begin = reinterpret_cast<uintptr_t>(pages.data());
  const uintptr_t end = begin + pages.size();
  entry_->broken = false;
  entry_->end = (end + page_bytes - 1) / page_bytes * page_bytes;
  entry_->begin = begin;  // last: now it is a range
}

WatchedPages::~WatchedPages() {
  if (entry_ == nullptr) return;
  entry_->begin = UINTPTR_MAX;  // first: no address is in it any more
  entry_->end = 0;
  entry_->taken = false;
}

WatchedPages::WatchedPages(WatchedPages&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}

WatchedPages& WatchedPages::operator=(WatchedPages&& other) noexcept {
  std::swap(entry_, other.entry_);
  return *this;
}

bool WatchedPages::broken() const noexcept {
  return entry_ != nullptr && entry_->broken.load(std::memory_order_acquire);
}

}  // namespace prosa
