// AtomicFile: following links, the temporary, write, sync, rename.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "prosa/error.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;          // as the kernel's own limit
constexpr size_t kMaxNameBytes = 200;  // of a temporary's stem: the name stays below NAME_MAX
constexpr int kMaxAttempts = 100;      // at a random name

uint64_t random_number() {
  uint64_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != sizeof number) {
    if (errno != EINTR) throw_io("random numbers", "can't read", errno);
  }
  return number;
}

/// The descriptor of this process that a path like /proc/self/fd/1 means.
std::optional<int> own_descriptor(const fs::path& path) {
  const std::string text = path.string();
  for (const std::string& prefix :
       {std::string("/proc/self/fd/"), std::string("/dev/fd/"), "/proc/" + std::to_string(::getpid()) + "/fd/"}) {
    if (!text.starts_with(prefix)) continue;
    int number = -1;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + prefix.size(), end, number);
    if (read.ec == std::errc() && read.ptr == end) return number;
  }
  return std::nullopt;
}

/// Where a link leads, one step.
fs::path next_of(const fs::path& link) {
  std::error_code error;
  const fs::path to = fs::read_symlink(link, error);
  if (error) throw_io(link, "can't read the link", error.value());
  return link.parent_path() / to;  // as it stands: ".." after a linked folder means that folder's parent
}

void write_fully(int descriptor, const fs::path& path, std::span<const std::byte> data,
                 std::optional<uint64_t> offset) {
  while (!data.empty()) {
    const ssize_t count = offset ? ::pwrite(descriptor, data.data(), data.size(), static_cast<off_t>(*offset))
                                 : ::write(descriptor, data.data(), data.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw_io(path, "can't write", count < 0 ? errno : EIO);
    data = data.subspan(static_cast<size_t>(count));
    if (offset) *offset += static_cast<uint64_t>(count);
  }
}

}  // namespace

fs::path temporary_beside(const fs::path& path) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), random_number(), 16).ptr;
  const std::string stem = path.filename().string().substr(0, kMaxNameBytes);
  return path.parent_path() / ("." + stem + "." + std::string(digits.data(), end) + ".tmp");
}

AtomicFile::AtomicFile(const fs::path& target, FileMode mode) : target_(target) {
  // Links are followed one by one: the last name need not exist yet, and on the way one may turn out to be a
  // descriptor of this process, which is not to be opened a second time.
  struct stat status {};
  for (int links = 0;; ++links) {
    if (own_descriptor(target_)) {
      open_stream(target);
      return;
    }
    if (::lstat(target_.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) break;
    if (links == kMaxLinks) throw_io(target, "can't follow the link", ELOOP);
    target_ = next_of(target_);
  }
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) throw_io(target, "can't create", errno);
  if (exists && S_ISDIR(status.st_mode)) throw_io(target, "can't write", EISDIR);
  if (exists && ::access(target_.c_str(), W_OK) != 0) throw_io(target, "can't write", errno);
  if (exists && !S_ISREG(status.st_mode)) {
    open_stream(target);
    return;
  }
  create_temporary(mode);
  // What was readable to few stays so; what others could read before, they may read again.
  if (exists && mode == FileMode::shared) ::fchmod(file_.get(), status.st_mode & 0777);
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::create_temporary(FileMode mode) {
  const mode_t bits = mode == FileMode::shared ? 0644 : 0600;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const fs::path name = temporary_beside(target_);
    file_ = Descriptor(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, bits));
    if (file_) {
      temporary_ = name;
      return;
    }
    if (errno != EEXIST) break;
  }
  throw_io(target_, "can't create", errno);
}

/// Bytes for a device or a pipe wait in a file without a name: they may come in any order, and nobody reads a part.
void AtomicFile::open_stream(const fs::path& target) {
  stream_ = true;
  if (const auto own = own_descriptor(target_)) {
    own_output_ = Descriptor(::fcntl(*own, F_DUPFD_CLOEXEC, 0));
    if (!own_output_) throw_io(target, "can't write", errno);
  }
  std::string name = (fs::temp_directory_path() / "prosa-XXXXXX").string();
  file_ = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!file_) throw_io(name, "can't create", errno);
  ::unlink(name.c_str());
}

void AtomicFile::reserve(uint64_t bytes) {
  if (::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0) return;
  if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) throw_io(target_, "can't write", errno);
}

void AtomicFile::write(std::span<const std::byte> data) {
  write_at(end_, data);
  end_ += data.size();
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> data) const {
  PROSA_CHECK(file_);
  write_fully(file_.get(), target_, data, offset);
}

void AtomicFile::copy_to_stream() const {
  Descriptor opened;
  if (!own_output_) {
    opened = Descriptor(::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!opened) throw_io(target_, "can't write", errno);
  }
  const int to = own_output_ ? own_output_.get() : opened.get();
  std::vector<std::byte> buffer(size_t{1} << 16);
  for (off_t at = 0;;) {
    const ssize_t count = ::pread(file_.get(), buffer.data(), buffer.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io(target_, "can't read what was to be written", errno);
    if (count == 0) return;
    write_fully(to, target_, std::span(buffer).first(static_cast<size_t>(count)), std::nullopt);
    at += count;
  }
}

void AtomicFile::commit() {
  PROSA_CHECK(file_);
  if (stream_) {
    copy_to_stream();
    file_.reset();
    return;
  }
  if (::fsync(file_.get()) != 0) throw_io(target_, "can't write to disk", errno);
  // A full disk behind a network shows here.
  if (::close(file_.release()) != 0 && errno != EINTR) throw_io(target_, "can't write", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw_io(target_, "can't rename the finished file to", errno);
  }
  temporary_.clear();
  sync_folder(target_.parent_path());
}

void replace_file(const fs::path& target, std::string_view text, FileMode mode) {
  AtomicFile file(target, mode);
  file.write(text);
  file.commit();
}

}  // namespace prosa
