// Which files of a repository make a model that prosa (and other tools of the field) can use.
//
// Names only, of one folder: the same rule reads a hub's list and a folder on disk. Invariant: every name that comes
// out is a plain file name.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace prosa::hub {

/// What a caller is going to read.
enum class Parts {
  all,   // the model
  text,  // tokenizer and template alone
};

inline constexpr const char* config_name = "config.json";
inline constexpr const char* index_name = "model.safetensors.index.json";
inline constexpr size_t kMaxIndexBytes = size_t{64} << 20;

/// Names in the folder `subfolder` ("": the root) out of paths from a hub. Paths that are no plain path are left out.
std::set<std::string> names_in(const std::vector<std::string>& paths, const std::string& subfolder);

/// Config, generation config, tokenizer and template files, as far as `names` has them.
std::vector<std::string> text_files(const std::set<std::string>& names);

/// Files with weights: those the index names, model.safetensors, or the only one; mtp.safetensors beside them. Empty
/// when there is none, or when what is there can only be a part of them. `index_text`: content of the index where
/// `names` has it. They may be missing from `names`. Errors: bad_checkpoint (the index; several files without one) at
/// `where`.
std::vector<std::string> weight_files(const std::set<std::string>& names, std::string_view index_text,
                                      const std::string& where);

/// Folders that hold *.safetensors themselves, for a hint.
std::vector<std::string> folders_with_weights(const std::vector<std::string>& paths);

}  // namespace prosa::hub
