// A shared pointer whose count can be asked: alone() is true only when nobody else holds the object, and what the
// others did with it before they let go has happened by then.
//
// std::shared_ptr::use_count() promises no such order, so writing after use_count() == 1 is a race. Not for cycles. T
// derives from Counted and is freed by its own retire(). Thread safety: as std::shared_ptr.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace prosa {

class Counted {
 protected:
  Counted() = default;
  ~Counted() = default;

 private:
  template <typename T>
  friend class Ref;
  std::atomic<int64_t> holders_ = 0;
};

template <typename T>
class Ref {
 public:
  Ref() = default;
  /// The first holder of a fresh object.
  explicit Ref(T* fresh) noexcept : object_(fresh) { hold(); }
  Ref(const Ref& other) noexcept : object_(other.object_) { hold(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { reset(); }

  void reset() noexcept {
    T* const object = std::exchange(object_, nullptr);
    if (object != nullptr && object->Counted::holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) object->retire();
  }
  /// Of a non-null pointer.
  [[nodiscard]] bool alone() const noexcept { return object_->Counted::holders_.load(std::memory_order_acquire) == 1; }
  [[nodiscard]] T* get() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Ref&, const Ref&) = default;

 private:
  void hold() noexcept {
    if (object_ != nullptr) object_->Counted::holders_.fetch_add(1, std::memory_order_relaxed);
  }
  T* object_ = nullptr;
};

}  // namespace prosa
