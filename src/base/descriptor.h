// A file descriptor that is closed when its owner dies.
//
// Not a file: it knows no name and reports no errors. Invariant: at most one owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace prosa {

class Descriptor {
 public:
  Descriptor() = default;
  /// Takes over what open() or dup() returned; a negative number is none.
  explicit Descriptor(int number) noexcept : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  explicit operator bool() const noexcept { return number_ >= 0; }
  [[nodiscard]] int get() const noexcept { return number_; }
  /// Gives it away, unclosed.
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }
  void reset() noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

}  // namespace prosa
