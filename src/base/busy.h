// The "one call at a time" rule of an object, kept without waiting: who comes second gets Error(busy).
//
// Not a lock for data that is only read. Invariant: the flag is set exactly as long as a lease lives.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "prosa/error.h"

namespace prosa {

class BusyLease {
 public:
  /// Error(busy) naming `what` when the flag is taken. The flag must outlive the lease.
  BusyLease(std::atomic<bool>& flag, const char* what) : flag_(&flag) {
    if (flag.exchange(true, std::memory_order_acquire)) {
      throw Error(ErrorCode::busy, std::string("the ") + what + " is in use by another call", {},
                  "finish, cancel or destroy the other call first");
    }
  }
  ~BusyLease() { release(); }
  BusyLease(BusyLease&& other) noexcept : flag_(std::exchange(other.flag_, nullptr)) {}
  BusyLease& operator=(BusyLease&& other) noexcept {
    std::swap(flag_, other.flag_);
    return *this;
  }

  void release() noexcept {
    if (flag_ != nullptr) flag_->store(false, std::memory_order_release);
    flag_ = nullptr;
  }

 private:
  std::atomic<bool>* flag_;
};

}  // namespace prosa
