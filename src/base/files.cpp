// open, fstat, read; errno as an Error; fsync of a folder.
#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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
  throw Error(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(error), path.string(),
              error == ENOSPC || error == EDQUOT ? "free some disk space" : "");
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor) ::fsync(descriptor.get());
}

}  // namespace prosa
