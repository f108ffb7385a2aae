// MappedFile: open, fstat, mmap.
#include "base/mmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

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
  MappedFile result;
  result.path_ = path;
  // O_NONBLOCK: a named pipe in place of a file must not hang the program; for regular files it means nothing.
  result.file_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!result.file_) fail(path, "can't open", errno);
  struct stat status {};
  if (::fstat(result.file_.get(), &status) != 0) fail(path, "can't stat", errno);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, "not a regular file", path.string());
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return result;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, result.file_.get(), 0);
  if (address == MAP_FAILED) fail(path, "can't map", errno);
  result.bytes_ = {static_cast<const std::byte*>(address), size};
  result.watched_ = WatchedPages(result.bytes_);
  return result;
}

MappedFile::~MappedFile() {
  watched_ = WatchedPages();  // before the addresses can become another map's
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::move(other.file_)),
      bytes_(std::exchange(other.bytes_, {})),
      watched_(std::move(other.watched_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(bytes_, other.bytes_);
  std::swap(watched_, other.watched_);
  return *this;
}

void MappedFile::require_intact() const {
  struct stat status {};
  const bool whole = !file_ || (::fstat(file_.get(), &status) == 0 && status.st_size >= std::ssize(bytes_));
  if (whole && !watched_.broken()) return;
  throw Error(ErrorCode::io, "was cut off, or could not be read, while it was in use", path_.string(),
              "fetch or make the file again, and let no program write into a file that is in use");
}

void release_pages(std::span<const std::byte> part) noexcept {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  if (part.empty() || !is_watched(part)) return;  // of other memory it would take the content, too
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace prosa
