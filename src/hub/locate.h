// From what people call a model to the folder it lies in: a path, a hub name in the local Hugging Face cache, or
// nothing for the embedded model.
//
// Never goes to the network and never writes. A folder that is returned exists; what it holds is not looked at.
#pragma once

#include <filesystem>
#include <string>

namespace prosa {

/// `name`: a folder, a hub name owner/name[:subfolder], or "" for the embedded model. A folder wins over a hub name.
///
/// The embedded model is searched for in $PROSA_MODELS, beside the program (../share/prosa/models), in the source tree
/// this was built from, and where it was to be installed. The hub cache is $HF_HUB_CACHE, else $HF_HOME/hub, else
/// ~/.cache/huggingface/hub. Errors: not_found (says where it looked), invalid_argument (no name).
std::filesystem::path locate_model(const std::string& name);

}  // namespace prosa
