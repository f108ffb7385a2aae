// The public way to a file that appears whole.
#include <sys/stat.h>

#include <filesystem>
#include <system_error>

#include "base/atomic_file.h"
#include "prosa/files.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;

bool is_same_file(const fs::path& path, const struct stat& other) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_ino == other.st_ino &&
         status.st_dev == other.st_dev;
}

}  // namespace

void write_file(const std::string& path, std::string_view bytes) { replace_file(path, bytes); }

void require_no_input(const std::string& output, const std::vector<std::string>& inputs) {
  const ResolvedTarget resolved = resolve_target(output);
  struct stat status {};
  if (resolved.kind != TargetKind::file || ::stat(resolved.path.c_str(), &status) != 0) return;
  for (const std::string& input : inputs) {
    bool same = is_same_file(input, status);
    std::error_code error;  // no folder
    for (fs::directory_iterator item(input, error), end; !error && !same && item != end; item.increment(error)) {
      same = is_same_file(item->path(), status);
    }
    if (!same) continue;
    throw Error(ErrorCode::invalid_argument, "would overwrite what is read: it is " + input + " or lies in it", output,
                "name another file");
  }
}

}  // namespace prosa
