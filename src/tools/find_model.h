// The folder of the MODEL that a command was given.
#pragma once

#include <filesystem>
#include <string>

#include "prosa/model.h"

namespace prosa::tools {

/// Downloaded, with a line about it on standard error, when the cache lacks it; `load`'s offline and revision count.
/// `text_only`: the command reads no weights. Errors: those of resolve_model().
std::filesystem::path find_model(const std::string& model, const LoadOptions& load, bool text_only = false);

}  // namespace prosa::tools
