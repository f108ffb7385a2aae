// Taking, giving back, refilling.
#include "backend/cpu/snapshot_buffers.h"

#include "prosa/error.h"

namespace prosa::backend::cpu {

AlignedBuffer<float> SnapshotBuffers::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) {
      ready_.reserve(kReady);
      thread_ = std::jthread([this](const std::stop_token& over) { refill(over); });
    }
    wanted_ = true;
    changed_.notify_one();
    if (!ready_.empty()) {
      AlignedBuffer<float> buffer = std::move(ready_.back());
      ready_.pop_back();
      return buffer;
    }
  }
  return AlignedBuffer<float>(floats_, "a checkpoint", Pages::resident);
}

void SnapshotBuffers::give_back(AlignedBuffer<float> buffer) noexcept {
  if (buffer.size() != floats_) return;
  const std::lock_guard lock(mutex_);
  if (!closed_ && ready_.size() < ready_.capacity()) ready_.push_back(std::move(buffer));  // never allocates
}

void SnapshotBuffers::close() noexcept {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  const std::lock_guard lock(mutex_);
  closed_ = true;
  ready_.clear();
}

int64_t SnapshotBuffers::byte_size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(ready_.size()) * floats_ * static_cast<int64_t>(sizeof(float));
}

void SnapshotBuffers::refill(const std::stop_token& over) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, over, [this] { return wanted_; })) {
    wanted_ = false;
    while (ready_.size() < kReady && !over.stop_requested()) {
      lock.unlock();
      AlignedBuffer<float> fresh;
      try {
        fresh = AlignedBuffer<float>(floats_, "a checkpoint", Pages::resident);
      } catch (const Error&) {  // whoever needs one will be told
      }
      lock.lock();
      if (fresh.size() == 0) break;
      if (ready_.size() < kReady) ready_.push_back(std::move(fresh));
    }
  }
}

}  // namespace prosa::backend::cpu
