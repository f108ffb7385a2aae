// errno as an Error, and fsync of a folder.
#include "base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "prosa/error.h"

namespace prosa {

void throw_io(const std::filesystem::path& path, const char* action, int error) {
  throw Error(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(error), path.string(),
              error == ENOSPC ? "free some disk space" : "");
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace prosa
