// System calls with their errors turned into sentences.
#include "hub/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/temporary.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCacheRemedy = "make room in the cache, or set HF_HUB_CACHE to a folder you may write to";

[[noreturn]] void fail(const fs::path& path, const std::string& action, int error) {
  std::string remedy;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    remedy = "make room, or set HF_HUB_CACHE to a folder on another disk; what is downloaded is kept";
  } else if (error == EROFS || error == EACCES || error == EPERM) {
    remedy = "set HF_HUB_CACHE to a folder you may write to";
  } else if (error == ELOOP) {
    remedy = "remove the link: it leads out of the cache";
  }
  const auto code = error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
  throw Error(code, action + ": " + std::generic_category().message(error), path.string(), remedy);
}

}  // namespace

File File::open_read(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(path, "can't read", errno);
  return {descriptor, path};
}

File File::open_write(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor < 0) fail(path, "can't write", errno);
  return {descriptor, path};
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

uint64_t File::size() const {
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) fail(path_, "can't read", errno);
  return static_cast<uint64_t>(status.st_size);
}

void File::resize(uint64_t bytes) const {
  const FileLimitAsError limit;
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) fail(path_, "can't write", errno);
}

size_t File::read_at(uint64_t offset, std::span<std::byte> into) const {
  size_t total = 0;
  while (total < into.size()) {
    const ssize_t count =
        ::pread(descriptor_, into.data() + total, into.size() - total, static_cast<off_t>(offset + total));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path_, "can't read", errno);
    if (count == 0) break;
    total += static_cast<size_t>(count);
  }
  return total;
}

void File::write_at(uint64_t offset, std::span<const std::byte> bytes) const {
  if (const int error = write_fully(descriptor_, bytes, offset); error != 0) fail(path_, "can't write", error);
}

void File::sync() const {
  if (::fsync(descriptor_) != 0) fail(path_, "can't write to disk", errno);
}

FileLock FileLock::acquire(const fs::path& path, const std::function<void()>& waiting) {
  while (true) {
    File file = File::open_write(path);
    while (::flock(file.descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) fail(path, "can't lock", errno);
      waiting();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    // Whoever held it may have removed the file: then the lock is on nothing.
    struct stat locked = {};
    struct stat named = {};
    if (::fstat(file.descriptor_, &locked) == 0 && ::stat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
        locked.st_dev == named.st_dev) {
      return FileLock(std::move(file));
    }
  }
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(folder, "can't make the folder", error.value());
}

void rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(to, "can't rename the finished file to", errno);
  sync_folder(to.parent_path());
}

void remove_file(const fs::path& file) {
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) fail(file, "can't remove", errno);
}

void write_small_file(const fs::path& file, std::string_view text) {
  try {
    std::error_code ignored;
    if (fs::is_symlink(file, ignored)) remove_file(file);  // it would lead out of the cache
    replace_file(file, text);
  } catch (const Error& error) {
    throw Error(error.code(), error.message(), error.where(), kCacheRemedy);
  }
}

void replace_link(const fs::path& link, const fs::path& target) {
  remove_leftovers_of(link);
  const fs::path temporary = temporary_beside(link);
  if (::symlink(target.c_str(), temporary.c_str()) != 0) fail(link, "can't link", errno);
  try {
    rename_file(temporary, link);
  } catch (const Error&) {
    ::unlink(temporary.c_str());
    throw;
  }
}

}  // namespace prosa::hub
