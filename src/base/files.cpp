// open, fstat, read, write; errno as an Error; fsync of a folder.
#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <string>
#include <system_error>

#include "base/descriptor.h"

namespace prosa {
namespace {

constexpr size_t kReadBytes = size_t{1} << 16;  // read on by so much where a file is longer than it said

[[noreturn]] void throw_too_large(const std::filesystem::path& path, size_t max_bytes, ErrorCode code) {
  throw Error(code, "has more than " + std::to_string(max_bytes) + " bytes, more than can be meant", path.string());
}

}  // namespace

std::optional<std::string> read_optional_file(const std::filesystem::path& path, size_t max_bytes,
                                              ErrorCode too_large) {
  // O_NONBLOCK: a named pipe in place of a file must not hang the program; for regular files it means nothing.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) throw_io(path, "can't open", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_io(path, "can't stat", errno);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, "not a regular file", path.string());
  if (static_cast<uint64_t>(status.st_size) > max_bytes) throw_too_large(path, max_bytes, too_large);
  // The size is a hint: files under /proc say 0, and another program may write to this one.
  std::string text(static_cast<size_t>(status.st_size) + 1, '\0');
  size_t size = 0;
  while (true) {
    if (size == text.size()) text.resize(size + kReadBytes);
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io(path, "can't read", errno);
    if (count == 0) break;
    size += static_cast<size_t>(count);
    if (size > max_bytes) throw_too_large(path, max_bytes, too_large);
  }
  text.resize(size);
  return text;
}

std::string read_file(const std::filesystem::path& path, size_t max_bytes, ErrorCode too_large) {
  auto text = read_optional_file(path, max_bytes, too_large);
  if (!text) throw Error(ErrorCode::not_found, "no such file", path.string(), "check the path");
  return std::move(*text);
}

void throw_io(const std::filesystem::path& path, const char* action, int error) {
  std::string remedy;
  if (error == ENOSPC || error == EDQUOT) remedy = "free some disk space";
  if (error == EFBIG) remedy = "free some disk space, or raise the limit on file sizes (ulimit -f)";
  throw Error(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(error), path.string(),
              remedy);
}

namespace {

sigset_t file_limit_signal() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ);
  return set;
}

}  // namespace

FileLimitAsError::FileLimitAsError() noexcept {
  const sigset_t set = file_limit_signal();
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

FileLimitAsError::~FileLimitAsError() {
  const int saved = errno;
  if (sigismember(&before_, SIGXFSZ) == 0) {
    // The signal of a refused write waits for this thread: it is taken before the thread can be met by it.
    const sigset_t set = file_limit_signal();
    const timespec at_once{};
    while (::sigtimedwait(&set, nullptr, &at_once) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  errno = saved;
}

int write_fully(int descriptor, std::span<const std::byte> data, std::optional<uint64_t> offset) noexcept {
  const FileLimitAsError limit;
  while (!data.empty()) {
    const ssize_t count = offset ? ::pwrite(descriptor, data.data(), data.size(), static_cast<off_t>(*offset))
                                 : ::write(descriptor, data.data(), data.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EIO;
    data = data.subspan(static_cast<size_t>(count));
    if (offset) *offset += static_cast<uint64_t>(count);
  }
  return 0;
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor) ::fsync(descriptor.get());
}

}  // namespace prosa
