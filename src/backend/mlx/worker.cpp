// The thread's loop.
#include "backend/mlx/worker.h"

#include <utility>

#include <mlx/stream.h>

namespace prosa::backend::mlx {

Worker::Worker() : thread_([this] { work(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Worker::call(const std::function<void()>& job) {
  const std::lock_guard turn(turn_);
  std::unique_lock lock(mutex_);
  job_ = &job;
  changed_.notify_all();
  changed_.wait(lock, [this] { return job_ == nullptr; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || job_ != nullptr; });
    if (job_ == nullptr) break;
    const std::function<void()>* const job = job_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      (*job)();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = std::move(failure);
    job_ = nullptr;
    changed_.notify_all();
  }
  lock.unlock();
  ::mlx::core::clear_streams();
}

}  // namespace prosa::backend::mlx
