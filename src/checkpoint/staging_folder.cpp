// StagingFolder: the checks before, the lock, the exchange of names.
#include "checkpoint/staging_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/temporary.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;

/// Whether `inner` is `outer` or lies in it; both without links.
bool lies_in(const fs::path& inner, const fs::path& outer) {
  const auto [outer_end, inner_end] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return outer_end == outer.end();
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  fs::path result = fs::weakly_canonical(fs::absolute(path), error);
  if (error) throw Error(ErrorCode::io, error.message(), path.string());
  if (result.filename().empty()) result = result.parent_path();  // "out/"
  return result;
}

void require_apart(const fs::path& destination, const fs::path& source) {
  const fs::path from = resolved(source);
  const char* problem = nullptr;
  if (destination == from) {
    problem = "is the source itself";
  } else if (lies_in(destination, from)) {
    problem = "lies in the source's folder";
  } else if (lies_in(from, destination)) {
    problem = "holds the source's folder";
  }
  for (const auto& item : fs::directory_iterator(from)) {
    if (problem != nullptr) break;
    std::error_code dangling;
    const fs::path file = fs::canonical(item.path(), dangling);
    if (!dangling && lies_in(file, destination)) problem = "holds files to which the source's links point";
  }
  if (problem != nullptr) {
    throw Error(ErrorCode::invalid_argument, problem, destination.string(), "name a folder somewhere else");
  }
}

/// A file that model folders hold, by its name.
bool is_model_file(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 10> kKinds{".safetensors", ".json", ".jinja", ".txt", ".md",
                                                    ".model",       ".svg",  ".jsonl", ".py",  ".gguf"};
  if (name == "LICENSE" || name == ".gitattributes") return true;
  return std::ranges::any_of(
      kKinds, [name](std::string_view kind) { return name.size() > kind.size() && name.ends_with(kind); });
}

bool is_staged_file(std::string_view name) noexcept { return is_model_file(name) || name_of_temporary(name); }

/// What an earlier conversion may have left, and nothing else: the folder's name alone makes it nobody's.
void require_leftovers(const fs::path& folder) {
  for (const auto& item : fs::directory_iterator(folder)) {
    const bool ours = item.is_regular_file() && is_staged_file(item.path().filename().string());
    if (ours && !item.is_symlink()) continue;
    throw Error(ErrorCode::invalid_argument,
                "holds " + item.path().filename().string() + ", which no conversion has left there", folder.string(),
                "move it, or name another folder to write");
  }
}

/// Model files and temporaries, then the folder, if that was all.
void remove_model_files(const fs::path& folder) noexcept {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator item(folder, error), end; !error && item != end; item.increment(error)) {
    if (is_staged_file(item->path().filename().string())) files.push_back(item->path());
  }
  for (const fs::path& file : files) ::unlink(file.c_str());
  ::rmdir(folder.c_str());
}

/// Nothing of the user's own may be lost with a folder that is replaced.
void require_checkpoint(const fs::path& folder) {
  bool config = false;
  bool weights = false;
  for (const auto& item : fs::directory_iterator(folder)) {
    if (!item.is_regular_file() || !is_model_file(item.path().filename().string())) {
      throw Error(ErrorCode::invalid_argument, "holds " + item.path().filename().string() + ", which is no model file",
                  folder.string(), "name another folder: only a checkpoint is replaced");
    }
    config = config || item.path().filename() == "config.json";
    weights = weights || item.path().extension() == ".safetensors";
  }
  if (!config || !weights) {
    throw Error(ErrorCode::invalid_argument, "is a folder but no checkpoint", folder.string(),
                "name another folder: only a checkpoint is replaced");
  }
}

void require_free_name(const fs::path& destination, bool replace) {
  if (!fs::exists(fs::symlink_status(destination))) return;
  if (!fs::is_directory(destination)) {
    throw Error(ErrorCode::invalid_argument, "exists and is not a folder", destination.string(), "name a new folder");
  }
  if (fs::is_empty(destination)) return;
  if (!replace) {
    throw Error(ErrorCode::invalid_argument, "exists already", destination.string(),
                "name a new folder, or replace the old checkpoint with --force");
  }
  require_checkpoint(destination);
}

void require_space(const fs::path& folder, int64_t bytes) {
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown || space.available == static_cast<uintmax_t>(-1)) return;
  if (space.available < static_cast<uintmax_t>(bytes)) {
    throw Error(ErrorCode::io,
                "needs " + std::to_string(bytes) + " bytes, the disk has " + std::to_string(space.available) + " free",
                folder.string(), "free some disk space");
  }
}

}  // namespace

StagingFolder::StagingFolder(const fs::path& destination, const fs::path& source, bool replace, int64_t bytes)
    : replace_(replace) {
  try {
    destination_ = resolved(destination);
    staging_ = destination_.parent_path() / ("." + destination_.filename().string() + ".converting");
    require_apart(destination_, source);
    require_free_name(destination_, replace);
    make_parents();
    require_space(destination_.parent_path(), bytes);
    lock();
  } catch (const fs::filesystem_error& error) {
    remove_parents();
    throw Error(ErrorCode::io, error.code().message(), destination.string());
  } catch (...) {
    remove_parents();
    throw;
  }
}

StagingFolder::~StagingFolder() {
  if (fd_ < 0) return;
  if (still_named()) remove_model_files(staging_);
  removal_.release();
  remove_parents();
  ::close(fd_);
}

void StagingFolder::make_parents() {
  std::vector<fs::path> missing;
  for (fs::path folder = destination_.parent_path(); !fs::exists(folder); folder = folder.parent_path()) {
    missing.push_back(folder);
  }
  for (auto folder = missing.rbegin(); folder != missing.rend(); ++folder) {
    if (::mkdir(folder->c_str(), 0777) != 0 && errno != EEXIST) throw_io(*folder, "can't make the folder", errno);
    made_parents_.push_back(*folder);
  }
}

void StagingFolder::remove_parents() noexcept {
  for (auto parent = made_parents_.rbegin(); parent != made_parents_.rend(); ++parent) ::rmdir(parent->c_str());
}

/// The lock goes with the process: what one that was killed has left is found unlocked, and is cleared.
void StagingFolder::lock() {
  if (::mkdir(staging_.c_str(), 0777) != 0 && errno != EEXIST) throw_io(staging_, "can't make the folder", errno);
  fd_ = ::open(staging_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd_ < 0) throw_io(staging_, "can't open the folder", errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 || !still_named()) {
    ::close(std::exchange(fd_, -1));
    throw Error(ErrorCode::io, "another conversion is writing this folder", destination_.string(),
                "wait for it, or name another folder");
  }
  try {
    require_leftovers(staging_);
    for (const auto& item : fs::directory_iterator(staging_)) fs::remove(item.path());
  } catch (...) {
    ::close(std::exchange(fd_, -1));
    throw;
  }
  removal_.folder(staging_, is_staged_file);
}

/// Whether the name still means the folder that is locked.
bool StagingFolder::still_named() const noexcept {
  struct stat mine {};
  struct stat named {};
  return ::fstat(fd_, &mine) == 0 && ::lstat(staging_.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
         mine.st_dev == named.st_dev;
}

/// What stands under the destination's name is looked at before the exchange and once more behind it, where nothing can
/// be put into it by that name any more.
void StagingFolder::replace_old() {
  require_free_name(destination_, replace_);
  const auto exchange = [&] {
    return ::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, destination_.c_str(), RENAME_EXCHANGE) == 0;
  };
  removal_.release();  // the name is soon the old folder's
  if (!exchange()) throw_io(destination_, "can't put the finished folder in its place", errno);
  try {
    require_checkpoint(staging_);
  } catch (const std::exception&) {
    if (!exchange()) throw_io(staging_, "is the old folder, and can't be put back", errno);
    throw Error(ErrorCode::invalid_argument, "was filled while the new one was made", destination_.string(),
                "name another folder: only a checkpoint is replaced");
  }
  remove_model_files(staging_);
}

void StagingFolder::commit() {
  PROSA_CHECK(fd_ >= 0);
  sync_folder(staging_);
  if (!still_named()) throw Error(ErrorCode::io, "was moved while it was written", staging_.string(), "convert again");
  if (::rename(staging_.c_str(), destination_.c_str()) != 0) {  // takes the place of nothing, or of an empty folder
    if (errno != EEXIST && errno != ENOTEMPTY) throw_io(destination_, "can't rename the finished folder to", errno);
    try {
      replace_old();
    } catch (const fs::filesystem_error& error) {
      throw Error(ErrorCode::io, error.code().message(), destination_.string());
    }
  }
  removal_.release();
  made_parents_.clear();
  ::close(std::exchange(fd_, -1));
  sync_folder(destination_.parent_path());
}

}  // namespace prosa::checkpoint
