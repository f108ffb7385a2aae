// The public way to a file that appears whole.
#include "base/atomic_file.h"
#include "prosa/files.h"

namespace prosa {

void write_file(const std::string& path, std::string_view bytes) { replace_file(path, bytes); }

}  // namespace prosa
