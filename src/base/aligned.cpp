// Aligned allocation through anonymous mappings for what is large, aligned new for what is small.
#include "base/aligned.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

#include "prosa/error.h"

namespace prosa {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
constexpr std::align_val_t kLine{64};

bool is_large(size_t bytes) { return bytes >= kHugePage; }
size_t rounded(size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

[[noreturn]] void out_of_memory(size_t bytes, const std::string& what) {
  throw Error(ErrorCode::out_of_memory, "can't allocate " + std::to_string(bytes >> 20) + " MiB", what,
              "free memory, or choose a smaller context or model");
}
}  // namespace

void* allocate_aligned(size_t bytes, const std::string& what, Pages pages) {
  if (bytes == 0) return nullptr;
  if (!is_large(bytes)) {
    void* data = ::operator new(bytes, kLine, std::nothrow);
    if (data == nullptr) out_of_memory(bytes, what);
    std::memset(data, 0, bytes);
    return data;
  }
  if (bytes > (size_t{1} << 46)) out_of_memory(bytes, what);
  // Over-allocate by one huge page and give the ends back, so that the start is aligned to a huge page.
  const size_t size = rounded(bytes);
  void* raw =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) out_of_memory(bytes, what);
  auto address = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t start = (address + kHugePage - 1) / kHugePage * kHugePage;
  if (start > address) munmap(raw, start - address);
  const size_t tail = address + size + kHugePage - (start + size);
  if (tail > 0) munmap(reinterpret_cast<void*>(start + size), tail);
  if (pages == Pages::huge) {
    madvise(reinterpret_cast<void*>(start), size, MADV_HUGEPAGE);
  } else {
    madvise(reinterpret_cast<void*>(start), size, MADV_NOHUGEPAGE);
#ifdef MADV_POPULATE_WRITE  // Linux 5.14; without it the pages come as they are written
    if (pages == Pages::resident) madvise(reinterpret_cast<void*>(start), bytes, MADV_POPULATE_WRITE);
#endif
  }
  return reinterpret_cast<void*>(start);
}

void free_aligned(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  if (is_large(bytes)) {
    munmap(data, rounded(bytes));
  } else {
    ::operator delete(data, kLine);
  }
}

}  // namespace prosa
