// From what people call a model to the folder it lies in: a path, or nothing for the embedded model.
//
// Never goes to the network and never writes; hub names are resolve.h's. A folder that is returned exists; what it
// holds is not looked at.
#pragma once

#include <filesystem>
#include <string>

namespace prosa {

/// `name`: a folder, or "" for the embedded model, which is searched for in $PROSA_MODELS, in share/prosa/models
/// above and beside the program, and where it was to be installed.
/// Errors: not_found (says where it looked), invalid_argument (no name).
std::filesystem::path locate_model(const std::string& name);

}  // namespace prosa
