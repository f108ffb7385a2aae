// MappedFile: open, fstat, mmap. Not a reader of any format.
#include "base/mmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "prosa/error.h"

namespace prosa {

namespace {
[[noreturn]] void fail(const std::filesystem::path& path, const char* action, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    throw Error(ErrorCode::not_found, "no such file", path.string(), "check the path");
  }
  throw Error(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(error), path.string());
}
}  // namespace

MappedFile MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a named pipe in place of a file must not hang the program; for regular files it means nothing.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) fail(path, "can't open", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(path, "can't stat", errno);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, "not a regular file", path.string());
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) fail(path, "can't map", errno);
  return MappedFile({static_cast<const std::byte*>(address), size});
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

void release_pages(std::span<const std::byte> part) noexcept {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  if (!part.empty()) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace prosa
