// Independent items on all cores: each thread takes the next item when it is done with one.
//
// For long work that reads, computes and writes, and may fail; the stages of a forward pass are thread_pool.h's.
// Invariant: which thread does what must not change a result.
#pragma once

#include <cstddef>
#include <functional>

namespace prosa {

/// Threads that for_each_item() will use for so many items; `threads` 0: all cores. At least 1.
size_t worker_count(size_t items, int threads);

/// Calls work(worker, item) once for each item, in ascending order of begin, with worker < worker_count(items,
/// threads); one call at a time has the same worker. The first exception ends the work and is thrown here.
void for_each_item(size_t items, int threads, const std::function<void(size_t worker, size_t item)>& work);

}  // namespace prosa
