// Results as files that appear whole, and never over what they were made from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"

namespace prosa {

/// `bytes` as the file `path`, which appears whole or not at all; what stood there stays until then. A device or a
/// named pipe is written to. Error(io).
void write_file(const std::string& path, std::string_view bytes);

/// Error(invalid_argument): `output` is one of the files `inputs`, or lies directly in a folder among them. Links count
/// as what they lead to; devices, pipes and empty names never count. To be asked before the work. Error(io): those of
/// write_file() that a look can tell.
void require_no_input(const std::string& output, const std::vector<std::string>& inputs);

}  // namespace prosa
