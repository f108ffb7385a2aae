// One card: its stream, its memory, its errors. Everything this backend does on the card stands in one stream, so what
// is freed may be used again at once: the next user's work comes after the last one's.
//
// States and snapshots hold the Device, so it outlives the backend where they do. Thread safety: every function.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/device_error.h"

namespace prosa::backend::cuda {

class Device;

/// Memory of the card or pinned memory of the host; goes back to its Device for the next one of the same size.
class Memory {
 public:
  Memory(std::shared_ptr<Device> device, void* data, int64_t bytes, bool pinned)
      : device_(std::move(device)), data_(data), bytes_(bytes), pinned_(pinned) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <typename T = void>
  [[nodiscard]] T* as() const noexcept {
    return static_cast<T*>(data_);
  }
  [[nodiscard]] int64_t bytes() const noexcept { return bytes_; }

 private:
  std::shared_ptr<Device> device_;
  void* data_;
  int64_t bytes_;
  bool pinned_;
};

using MemoryPtr = std::shared_ptr<Memory>;

class Device : public std::enable_shared_from_this<Device> {
 public:
  /// Error(unsupported): no driver, too old a driver, no such card, a card older than these kernels.
  static std::shared_ptr<Device> open(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// Makes this the calling thread's card: first in every function that calls CUDA.
  void use() const { check(cudaSetDevice(ordinal_), "selecting the card"); }

  /// Error(out_of_memory) names `what` and the size.
  [[nodiscard]] MemoryPtr allocate(int64_t bytes, const char* what) { return take(bytes, what, false); }
  [[nodiscard]] MemoryPtr allocate_pinned(int64_t bytes, const char* what) { return take(bytes, what, true); }

  /// In the stream's order. Host memory that is not pinned: returns when it is done with.
  void copy(void* to, const void* from, int64_t bytes) const;
  void clear(void* to, int64_t bytes) const;
  /// Waits for everything that was put on the stream before.
  void finish() const;

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
  [[nodiscard]] int processors() const noexcept { return processors_; }
  [[nodiscard]] int architecture() const noexcept { return architecture_; }  // 90 for compute capability 9.0
  [[nodiscard]] int shared_bytes() const noexcept { return shared_bytes_; }  // of a block at most
  [[nodiscard]] double clock_khz() const noexcept { return clock_khz_; }     // at most
  [[nodiscard]] bool cooperative() const noexcept { return cooperative_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] int64_t free_bytes() const;

 private:
  friend class Memory;
  explicit Device(int ordinal) : ordinal_(ordinal) {}
  MemoryPtr take(int64_t bytes, const char* what, bool pinned);
  void give_back(void* data, int64_t bytes, bool pinned) noexcept;
  void drop_spares() noexcept;

  const int ordinal_;
  cudaStream_t stream_ = nullptr;
  int processors_ = 0;
  int architecture_ = 0;
  int shared_bytes_ = 0;
  double clock_khz_ = 1e6;
  bool cooperative_ = false;
  std::string name_;
  std::mutex mutex_;  // guards spares_
  std::map<std::pair<bool, int64_t>, std::vector<void*>> spares_;
};

}  // namespace prosa::backend::cuda
