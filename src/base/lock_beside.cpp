// The lock's file holds "PROCESS kept" or "PROCESS call", for those who find it locked.
#include "base/lock_beside.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/atomic_file.h"
#include "base/files.h"
#include "prosa/error.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr auto kMaxLockWait = std::chrono::seconds(10);  // a call writes or reads one file
constexpr auto kPause = std::chrono::milliseconds(10);
constexpr size_t kMaxLockNameBytes = 200;  // of NAME: the whole stays below NAME_MAX
constexpr std::string_view kKept = " kept\n";
constexpr std::string_view kCall = " call\n";

/// A longer NAME is cut, and told apart from others with the same beginning by a hash (FNV-1a).
fs::path lock_path(const fs::path& target) {
  std::string name = target.filename().string();
  if (name.size() > kMaxLockNameBytes) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    name = name.substr(0, kMaxLockNameBytes) + "." + std::to_string(hash);
  }
  return target.parent_path() / ("." + name + ".lock");
}

/// Whether a lock's file holds what sign() writes, or nothing yet. Anything else is a file of somebody's own.
bool is_signature(std::string_view text) {
  if (text.empty()) return true;
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view rest = text.substr(digits);
  return digits > 0 && (rest == kKept || rest == kCall);
}

/// Written by another process of this user, but nothing to be trusted: at most a number is taken from it.
std::string read_signature(int file) {
  std::array<char, 64> text{};
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  if (count < 0) return "?";
  return {text.data(), static_cast<size_t>(count)};
}

[[noreturn]] void throw_no_lock(const fs::path& path) {
  throw Error(ErrorCode::io, "stands where a lock has to be and is none", path.string(),
              "move it or remove it, or name another file");
}

[[noreturn]] void throw_busy(const fs::path& target, const std::string& signature) {
  const std::string number = signature.substr(0, signature.find_first_not_of("0123456789"));
  const std::string who = number.empty() || number.size() > 10 ? "another process" : "process " + number;
  throw Error(ErrorCode::busy, "is in use by " + who, target.string(),
              "end that use first, or open the file without saving to it (SessionAccess::read_only)");
}

}  // namespace

LockBeside::LockBeside(const fs::path& target, LockFor purpose) {
  const auto deadline = steady_clock::now() + kMaxLockWait;
  for (bool kept_before = false;;) {
    try {
      if (take(target, purpose)) break;
    } catch (const Error&) {
      file_.reset();
      if (purpose == LockFor::reading) return;  // what is wrong with the file itself, reading it will say
      throw;
    }
    // What a process that was killed has written stands there until the next holder signs: it is believed when it is
    // still there after a pause.
    const std::string signature = read_signature(file_.get());
    file_.reset();
    const bool kept = signature.ends_with(kKept);
    if ((kept && kept_before) || steady_clock::now() > deadline) throw_busy(target, signature);
    kept_before = kept;
    std::this_thread::sleep_for(kPause);
  }
  sign(purpose);
}

/// False: another has it. Then the file is open all the same, for its signature.
bool LockBeside::take(const fs::path& target, LockFor purpose) {
  const ResolvedTarget resolved = resolve_target(target);
  if (resolved.kind == TargetKind::stream) return true;
  if (purpose == LockFor::keeping) require_replaceable(resolved, target);
  path_ = lock_path(resolved.path);
  for (;;) {
    // For writing: over NFS an exclusive lock needs it. O_NONBLOCK: a pipe under this name must not hang the program.
    file_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
    if (!file_) throw_io(target, "can't make a lock beside it", errno);
    struct stat mine {};
    if (::fstat(file_.get(), &mine) != 0) throw_io(target, "can't stat the lock beside it", errno);
    // It will be written to and removed: it could be somebody's file.
    if (!S_ISREG(mine.st_mode) || mine.st_nlink > 1 || mine.st_uid != ::geteuid()) throw_no_lock(path_);
    while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return false;
      if (errno != EINTR) throw_io(target, "can't lock the file beside it", errno);
    }
    if (!is_signature(read_signature(file_.get()))) throw_no_lock(path_);
    // Whoever held it may have removed the file before it let go: then this lock is on nothing.
    if (still_named()) return true;
  }
}

bool LockBeside::still_named() const noexcept {
  struct stat mine {};
  struct stat named {};
  return ::fstat(file_.get(), &mine) == 0 && ::lstat(path_.c_str(), &named) == 0 && named.st_ino == mine.st_ino &&
         named.st_dev == mine.st_dev;
}

void LockBeside::require_held(const fs::path& target) const {
  if (!file_) return;
  if (still_named() && lock_path(resolve_target(target).path) == path_) return;
  throw Error(ErrorCode::busy, "is no longer locked: its lock " + path_.filename().string() + " or its folder is gone",
              target.string(), "save to another file: somebody else may be using this one");
}

/// For people only: a full disk is no reason to fail.
void LockBeside::sign(LockFor purpose) const {
  if (!file_) return;
  const std::string text = std::to_string(::getpid()) + std::string(purpose == LockFor::keeping ? kKept : kCall);
  const FileLimitAsError limit;
  if (::ftruncate(file_.get(), 0) != 0) return;
  static_cast<void>(write_fully(file_.get(), std::as_bytes(std::span(text)), 0));
}

LockBeside::~LockBeside() {
  if (file_ && still_named()) ::unlink(path_.c_str());  // while it is locked: nobody else can be on it
}

}  // namespace prosa
