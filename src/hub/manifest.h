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

/// Names in the folder `subfolder` ("": the root) out of paths from a hub, and additional_chat_templates/NAME.jinja
/// below it. Paths that are no plain path are left out.
std::set<std::string> names_in(const std::vector<std::string>& paths, const std::string& subfolder);

/// Config, generation config, tokenizer and template files, as far as `names` has them.
std::vector<std::string> text_files(const std::set<std::string>& names);

/// The files that hold a folder's weights.
struct WeightFiles {
  std::vector<std::string> names;  // without doubles; mtp.safetensors last. Empty: there are none
  std::string missing = {};        // a file that belongs to them and is not there; "": they are whole
  bool by_index = false;           // they are what the index names
  std::string warning = {};        // the index and the files disagree: what was taken instead; "": they agree
};

/// What is there decides, the index is a help: model.safetensors first, as transformers has it, then the files that the
/// index names, if all of them are there, then a complete set of shards, the files model*.safetensors, or the only one.
/// `index_text`: content of the index where `names` has it. Errors: bad_checkpoint (a broken index and no complete set
/// of files; several files of which none says that it is the model) at `where`.
WeightFiles weight_files(const std::set<std::string>& names, std::string_view index_text, const std::string& where);

/// Folders that hold *.safetensors themselves, for a hint.
std::vector<std::string> folders_with_weights(const std::vector<std::string>& paths);

}  // namespace prosa::hub
