// Results as files.
#pragma once

#include <string>
#include <string_view>

#include "prosa/error.h"

namespace prosa {

/// `bytes` as the file `path`, which appears whole or not at all; what stood there stays until then. A device or a
/// named pipe is written to. Error(io).
void write_file(const std::string& path, std::string_view bytes);

}  // namespace prosa
