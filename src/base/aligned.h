// AlignedBuffer: zero-filled memory for tensors, aligned to cache lines, on 2 MiB pages where the kernel gives them.
//
// Not a vector: it never grows, and copying has to be said. Invariant: data() is 64-byte aligned; size() elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace prosa {

/// Of large buffers. Huge pages are fastest to read, but the kernel may take long to find them; `small` ones come as
/// they are written; `resident` ones are small and in memory when the allocation returns.
enum class Pages { huge, small, resident };

/// Zeroed bytes, 64-byte aligned (2 MiB when large). Error(out_of_memory) naming `what` and the size.
void* allocate_aligned(size_t bytes, const std::string& what, Pages pages = Pages::huge);
void free_aligned(void* data, size_t bytes) noexcept;

template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t size, const std::string& what = "a buffer", Pages pages = Pages::huge)
      : data_(static_cast<T*>(allocate_aligned(static_cast<size_t>(size) * sizeof(T), what, pages))), size_(size) {}
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { free_aligned(data_, static_cast<size_t>(size_) * sizeof(T)); }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] int64_t size() const noexcept { return size_; }
  [[nodiscard]] int64_t byte_size() const noexcept { return size_ * static_cast<int64_t>(sizeof(T)); }
  [[nodiscard]] std::span<T> span() noexcept { return {data_, static_cast<size_t>(size_)}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_, static_cast<size_t>(size_)}; }
  T& operator[](int64_t index) noexcept { return data_[index]; }
  const T& operator[](int64_t index) const noexcept { return data_[index]; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace prosa
