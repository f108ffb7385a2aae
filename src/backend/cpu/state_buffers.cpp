// Taking, giving back, refilling.
#include "backend/cpu/state_buffers.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace prosa::backend::cpu {

// Its last holder lets go; holders may outlive the backend.
void StateFloats::retire() noexcept {
  pool_->give_back(std::move(floats_));
  delete this;
}

StateBuffer StateBuffers::wrapped(AlignedBuffer<float> buffer) {
  return StateBuffer(new StateFloats(std::move(buffer), shared_from_this()));
}

StateBuffer StateBuffers::make() { return wrapped(AlignedBuffer<float>(floats_, "the recurrent state")); }

StateBuffer StateBuffers::take() {
  AlignedBuffer<float> buffer;
  {
    const std::lock_guard lock(mutex_);
    if (!started_) {
      started_ = true;
      ready_.reserve(kMaxIdle);
      try {
        thread_ = std::jthread([this](const std::stop_token& over) { refill(over); });
      } catch (const std::exception&) {  // no thread, no memory for one: only speed is lost
      }
    }
    if (!ready_.empty()) {
      buffer = std::move(ready_.back());
      ready_.pop_back();
    }
    if (ready_.size() < kReady) {
      wanted_ = true;
      changed_.notify_one();
    }
  }
  if (buffer.size() == 0) buffer = AlignedBuffer<float>(floats_, "a recurrent state", Pages::resident);
  return wrapped(std::move(buffer));
}

void StateBuffers::give_back(AlignedBuffer<float> buffer) noexcept {
  if (buffer.size() != floats_) return;
  const std::lock_guard lock(mutex_);
  if (!closed_ && ready_.size() < ready_.capacity()) ready_.push_back(std::move(buffer));  // never allocates
}

void StateBuffers::close() noexcept {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  const std::lock_guard lock(mutex_);
  closed_ = true;
  ready_.clear();
}

int64_t StateBuffers::byte_size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(ready_.size()) * floats_ * static_cast<int64_t>(sizeof(float));
}

// Brings the pages into memory a few at a time: a decode step waits for its slowest worker, and finding 20 MiB at once
// would hold one up for ten milliseconds.
void StateBuffers::touch(AlignedBuffer<float>& buffer, const std::stop_token& over) {
  constexpr int64_t kPage = 4096 / sizeof(float);
  constexpr int64_t kAtOnce = 32 * kPage;
  for (int64_t at = 0; at < buffer.size() && !over.stop_requested(); at += kAtOnce) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    for (int64_t i = at; i < std::min(at + kAtOnce, buffer.size()); i += kPage) buffer[i] = 0;
  }
}

void StateBuffers::refill(const std::stop_token& over) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, over, [this] { return wanted_; })) {
    wanted_ = false;
    while (ready_.size() < kReady && !over.stop_requested()) {
      lock.unlock();
      AlignedBuffer<float> fresh;
      try {
        fresh = AlignedBuffer<float>(floats_, "a recurrent state", Pages::small);
        touch(fresh, over);
      } catch (const std::exception&) {  // whoever needs one will be told
      }
      lock.lock();
      if (fresh.size() == 0) break;
      if (ready_.size() < kReady) ready_.push_back(std::move(fresh));
    }
  }
}

}  // namespace prosa::backend::cpu
