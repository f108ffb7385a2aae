// fsync of a folder.
#include "base/sync.h"

#include <fcntl.h>
#include <unistd.h>

namespace prosa {

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace prosa
