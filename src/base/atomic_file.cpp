// AtomicFile: following links, write, sync, rename.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/temporary.h"
#include "prosa/error.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel's own limit

struct NamedDescriptor {
  int number = -1;
  bool own = false;  // of this process
};

/// The descriptor that a path like /proc/self/fd/1 means, however it is spelled: /dev//fd/1, /proc/thread-self/fd/1.
std::optional<NamedDescriptor> named_descriptor(const fs::path& path) {
  NamedDescriptor named;
  const std::string name = path.filename().string();
  const char* end = name.data() + name.size();
  const auto read = std::from_chars(name.data(), end, named.number);
  if (read.ec != std::errc() || read.ptr != end || named.number < 0) return std::nullopt;
  std::error_code error;
  const std::string folder = fs::canonical(path.parent_path().empty() ? "." : path.parent_path(), error).string();
  // /proc/PROCESS/fd, or /proc/PROCESS/task/THREAD/fd
  if (error || !folder.starts_with("/proc/") || !folder.ends_with("/fd")) return std::nullopt;
  const std::string self = fs::canonical("/proc/self", error).string() + "/";
  named.own = !error && folder.starts_with(self);
  return named;
}

std::optional<int> own_descriptor(const fs::path& path) {
  const auto named = named_descriptor(path);
  return named && named->own ? std::optional(named->number) : std::nullopt;
}

/// Where a link leads, one step.
fs::path next_of(const fs::path& link) {
  std::error_code error;
  const fs::path to = fs::read_symlink(link, error);
  if (error) throw_io(link, "can't read the link", error.value());
  return link.parent_path() / to;  // as it stands: ".." after a linked folder means that folder's parent
}

}  // namespace

ResolvedTarget resolve_target(const fs::path& target) {
  // Links are followed one by one: the last name need not exist yet, and on the way one may turn out to be a
  // descriptor of this process, which is not to be opened a second time.
  struct stat status {};
  std::error_code ignored;
  fs::path path = target;
  for (int links = 0;; ++links) {
    const auto descriptor = named_descriptor(path);
    if (descriptor && descriptor->own) return {path, TargetKind::stream};
    // Its file would be replaced while that process goes on writing to the old one.
    if (descriptor && fs::is_regular_file(fs::status(path, ignored))) {
      throw Error(ErrorCode::io, "is a file that another process has open", target.string(), "name the file itself");
    }
    if (::lstat(path.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) break;
    if (links == kMaxLinks) throw_io(target, "can't follow the link", ELOOP);
    path = next_of(path);
  }
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) throw_io(target, "can't create", errno);
  if (exists && S_ISDIR(status.st_mode)) throw_io(target, "can't write", EISDIR);
  if (!exists) return {path, TargetKind::absent};
  return {path, S_ISREG(status.st_mode) ? TargetKind::file : TargetKind::stream};
}

void require_replaceable(const ResolvedTarget& resolved, const fs::path& target) {
  if (resolved.kind == TargetKind::absent || own_descriptor(resolved.path)) return;
  const char* const path = resolved.path.c_str();
  if (::faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0 && errno != ENOENT) throw_io(target, "can't write", errno);
  struct statx status {};
  if (resolved.kind == TargetKind::file && ::statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &status) == 0 &&
      (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) {
    throw Error(ErrorCode::io, "is a mount of its own, which no new file can replace", target.string(),
                "mount its folder, or name a file in a folder");
  }
}

AtomicFile::AtomicFile(const fs::path& target, FileMode mode) {
  ResolvedTarget resolved = resolve_target(target);
  require_replaceable(resolved, target);
  target_ = std::move(resolved.path);
  struct stat status {};
  const bool exists = resolved.kind != TargetKind::absent && ::stat(target_.c_str(), &status) == 0;
  if (resolved.kind == TargetKind::stream) {
    open_stream(target);
    return;
  }
  remove_leftovers_of(target_);
  Temporary temporary = create_temporary(target_, mode == FileMode::shared ? 0644 : 0600, removal_);
  temporary_ = std::move(temporary.path);
  file_ = std::move(temporary.file);
  // What was readable to few stays so; what others could read before, they may read again.
  if (exists && mode == FileMode::shared) ::fchmod(file_.get(), status.st_mode & 0777);
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

/// Bytes for a device or a pipe wait in a file without a name: they may come in any order, and nobody reads a part.
void AtomicFile::open_stream(const fs::path& target) {
  stream_ = true;
  if (const auto own = own_descriptor(target_)) {
    own_output_ = Descriptor(::fcntl(*own, F_DUPFD_CLOEXEC, 0));
    if (!own_output_) throw_io(target, "can't write", errno);
  }
  std::error_code error;
  std::string name = (fs::temp_directory_path(error) / "prosa-XXXXXX").string();
  if (!error) file_ = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!file_) {
    const std::string reason = error ? error.message() : std::generic_category().message(errno);
    throw Error(ErrorCode::io, "needs a folder for temporary files: " + reason, target.string(),
                "set TMPDIR to a folder that you may write to");
  }
  ::unlink(name.c_str());
}

void AtomicFile::reserve(uint64_t bytes) {
  const FileLimitAsError limit;
  if (::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0) return;
  if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) throw_io(target_, "can't write", errno);
}

void AtomicFile::write(std::span<const std::byte> data) {
  write_at(end_, data);
  end_ += data.size();
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> data) const {
  PROSA_CHECK(file_);
  if (const int error = write_fully(file_.get(), data, offset); error != 0) throw_io(target_, "can't write", error);
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
    const int error = write_fully(to, std::span(buffer).first(static_cast<size_t>(count)), std::nullopt);
    if (error != 0) throw_io(target_, "can't write", error);
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
  // The lock has to outlive the name of the temporary: without it, another process would remove the finished file as a
  // leftover. A copy of the descriptor keeps it, since closing this one is how a full disk behind a network shows.
  const Descriptor lock(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!lock) throw_io(target_, "can't write", errno);
  if (::close(file_.release()) != 0 && errno != EINTR) throw_io(target_, "can't write", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw_io(target_, "can't rename the finished file to", errno);
  }
  removal_.release();
  temporary_.clear();
  sync_folder(target_.parent_path());
}

void replace_file(const fs::path& target, std::string_view text, FileMode mode) {
  AtomicFile file(target, mode);
  file.write(text);
  file.commit();
}

}  // namespace prosa
