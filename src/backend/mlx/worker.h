// A thread that makes every call into MLX, because MLX binds its streams to the thread that made them.
//
// Not a queue of work: who calls waits for the end. Invariant: one function at a time, in the order of the calls, and
// what it throws is thrown at who called.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace prosa::backend::mlx {

class Worker {
 public:
  Worker();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Runs it there and waits. From any thread, but not from inside a job.
  void call(const std::function<void()>& job);

 private:
  void work();

  std::mutex turn_;  // held by who has a job there
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* job_ = nullptr;
  std::exception_ptr failure_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace prosa::backend::mlx
