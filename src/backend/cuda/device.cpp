// Opening the card, memory with spares by size, and what CUDA's errors mean to a caller.
#include "backend/cuda/device.h"

#include "prosa/error.h"

namespace prosa::backend::cuda {

void fail(cudaError_t result, const char* what) {
  const std::string reason = std::string(cudaGetErrorString(result)) + " (" + cudaGetErrorName(result) + ")";
  switch (result) {
    case cudaErrorMemoryAllocation:
      cudaGetLastError();  // not sticky
      throw Error(ErrorCode::out_of_memory, "the card has no memory left", what,
                  "use a smaller context or fewer conversations");
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInitializationError:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorInvalidDevice:
      throw Error(ErrorCode::unsupported, "no usable NVIDIA card: " + reason, what,
                  "install the NVIDIA driver (release 580 or newer), or use --backend cpu");
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw Error(ErrorCode::unsupported, "this build has no kernels for this card: " + reason, what,
                  "build with PROSA_CUDA_ARCHITECTURES for the card, or use --backend cpu");
    default:
      throw Error(ErrorCode::io, "the card failed: " + reason, what,
                  "the card is lost to this process: start the program again, or use --backend cpu");
  }
}

Memory::~Memory() { device_->give_back(data_, bytes_, pinned_); }

std::shared_ptr<Device> Device::open(int ordinal) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for cards");
  if (ordinal < 0 || ordinal >= count) {
    throw Error(ErrorCode::unsupported, "there is no card " + std::to_string(ordinal), "cuda",
                "this machine has " + std::to_string(count));
  }
  cudaDeviceProp properties = {};
  check(cudaGetDeviceProperties(&properties, ordinal), "asking the card");
  if (properties.major < 8) {
    throw Error(ErrorCode::unsupported,
                std::string(properties.name) + " is of compute capability " + std::to_string(properties.major) + "." +
                    std::to_string(properties.minor),
                "cuda", "cards from 8.0 on (Ampere) are supported; use --backend cpu");
  }
  // One a card, so that what backends of one process share is in one order.
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<Device>> opened;
  const std::lock_guard lock(mutex);
  if (std::shared_ptr<Device> device = opened[ordinal].lock()) return device;
  std::shared_ptr<Device> device(new Device(ordinal));
  device->use();
  device->processors_ = properties.multiProcessorCount;
  device->architecture_ = properties.major * 10 + properties.minor;
  device->shared_bytes_ = static_cast<int>(properties.sharedMemPerBlockOptin);
  int khz = 0;
  check(cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, ordinal), "asking the card");
  device->clock_khz_ = khz;
  device->cooperative_ = properties.cooperativeLaunch != 0;
  device->name_ = properties.name;
  check(cudaStreamCreateWithFlags(&device->stream_, cudaStreamNonBlocking), "a stream");
  opened[ordinal] = device;
  return device;
}

Device::~Device() {
  cudaSetDevice(ordinal_);
  if (stream_ != nullptr) {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  drop_spares();
}

void Device::copy(void* to, const void* from, int64_t bytes) const {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_), "a copy");
}

void Device::clear(void* to, int64_t bytes) const {
  if (bytes > 0) check(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), stream_), "clearing");
}

void Device::finish() const { check(cudaStreamSynchronize(stream_), "waiting for the card"); }

int64_t Device::free_bytes() const {
  size_t free = 0;
  size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  return static_cast<int64_t>(free);
}

MemoryPtr Device::take(int64_t bytes, const char* what, bool pinned) {
  use();
  bytes = (bytes + 255) / 256 * 256;
  if (bytes == 0) bytes = 256;
  {
    const std::lock_guard lock(mutex_);
    auto& spares = spares_[{pinned, bytes}];
    if (!spares.empty()) {
      void* const data = spares.back();
      spares.pop_back();
      return std::make_shared<Memory>(shared_from_this(), data, bytes, pinned);
    }
  }
  const auto ask = [&](void** data) {
    return pinned ? cudaMallocHost(data, static_cast<size_t>(bytes)) : cudaMalloc(data, static_cast<size_t>(bytes));
  };
  void* data = nullptr;
  cudaError_t result = ask(&data);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    drop_spares();
    result = ask(&data);
  }
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(ErrorCode::out_of_memory,
                std::string(pinned ? "can't pin " : "the card can't give ") +
                    std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB",
                what, "use a smaller context, fewer conversations or a smaller model");
  }
  check(result, what);
  return std::make_shared<Memory>(shared_from_this(), data, bytes, pinned);
}

void Device::give_back(void* data, int64_t bytes, bool pinned) noexcept {
  const std::lock_guard lock(mutex_);
  spares_[{pinned, bytes}].push_back(data);
}

void Device::drop_spares() noexcept {
  const std::lock_guard lock(mutex_);
  for (auto& [kind, list] : spares_) {
    for (void* data : list) kind.first ? cudaFreeHost(data) : cudaFree(data);
    list.clear();
  }
}

}  // namespace prosa::backend::cuda
