// for_each_item: one counter, as many threads as cores, the first failure kept.
#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cores.h"

namespace prosa {

size_t worker_count(size_t items, int threads) {
  const auto wanted = static_cast<size_t>(threads > 0 ? threads : usable_cpus());
  return std::clamp<size_t>(wanted, 1, std::max<size_t>(items, 1));
}

void for_each_item(size_t items, int threads, const std::function<void(size_t worker, size_t item)>& work) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&](size_t worker) {
    try {
      for (size_t item = next++; item < items; item = next++) work(worker, item);
    } catch (...) {
      next = items;
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (size_t worker = 1; worker < worker_count(items, threads); ++worker) others.emplace_back(run, worker);
    } catch (const std::exception&) {  // no thread, no memory for one: those that run do the work
    }
    run(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace prosa
