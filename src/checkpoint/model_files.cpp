// Which files belong to a model folder, and opening them. Not the binding to a model (loader.cpp).
#include "checkpoint/model_files.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/keyed_hash.h"
#include "hub/manifest.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;

/// Says what is there instead, where that tells what kind of folder it is.
[[noreturn]] void fail_no_weights(const fs::path& folder, const std::set<std::string>& names) {
  const auto with = [&](std::string_view ending) {
    return std::ranges::find_if(names, [=](const std::string& name) { return name.ends_with(ending); });
  };
  const std::string needed = "a model folder holds model.safetensors, or shards of it";
  for (const auto& [ending, kind] : {std::pair(".gguf", "GGUF (llama.cpp)"), std::pair(".bin", "PyTorch"),
                                     std::pair(".pth", "PyTorch"), std::pair(".npz", "NumPy")}) {
    const auto other = with(ending);
    if (other == names.end()) continue;
    throw Error(ErrorCode::unsupported, "no safetensors file in the folder, but " + *other + " of " + kind,
                folder.string(), "fetch the safetensors files of the model: prosa reads no other format");
  }
  throw Error(ErrorCode::not_found,
              names.empty() ? "the folder is empty" : "no weights: there is no safetensors file in the folder",
              folder.string(), needed);
}

/// The names of what lies in the folder.
std::set<std::string> names_of(const fs::path& folder) {
  // Not std::filesystem's iterator: it ends the process where there is no memory for it.
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), ::closedir);
  if (!open) {
    if (errno == ENOMEM) throw std::bad_alloc();
    throw_io(folder, "can't list it", errno);
  }
  std::set<std::string> names;
  while (const dirent* entry = ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    struct stat status {};  // of what a link leads to
    const bool found = ::fstatat(::dirfd(open.get()), entry->d_name, &status, 0) == 0;
    if (!name.starts_with('.') && found && S_ISREG(status.st_mode)) names.emplace(name);
  }
  return names;
}

/// A sentence about tensors that the index puts into files that do not have them; "": there are none.
std::string compare_index(const std::string& index_text, const fs::path& index,
                          const std::vector<format::SafetensorsFile>& files) {
  nlohmann::json document =
      parse_json(index_text, {index.string(), ErrorCode::bad_checkpoint, ""}, {.max_bytes = hub::kMaxIndexBytes});
  const JsonGuard guard(document);
  KeyedMap<const format::SafetensorsFile*> by_name;
  for (const format::SafetensorsFile& file : files) by_name.emplace(file.path().filename().string(), &file);
  std::string first;
  size_t absent = 0;
  for (const auto& [tensor, shard] : document.at("weight_map").items()) {
    if (by_name.at(shard.get<std::string>())->find(tensor) != nullptr) continue;
    if (absent++ == 0) first = "'" + tensor + "' into " + shard.get<std::string>();
  }
  if (absent == 0) return {};
  return "it puts " + first + (absent > 1 ? " and " + std::to_string(absent - 1) + " more tensors into files" : "") +
         ", which is not so; the files are read as they are";
}

}  // namespace

ModelFiles ModelFiles::open(const fs::path& folder) {
  try {
    const std::set<std::string> names = names_of(folder);
    const fs::path index = folder / hub::index_name;
    std::string index_text;
    if (names.contains(hub::index_name)) {
      index_text = read_file(index, hub::kMaxIndexBytes, ErrorCode::bad_checkpoint);
    }
    const std::string where = names.contains(hub::index_name) ? index.string() : folder.string();
    const hub::WeightFiles weights = hub::weight_files(names, index_text, where);
    if (weights.names.empty()) fail_no_weights(folder, names);
    if (!weights.missing.empty()) {
      throw Error(ErrorCode::not_found, "the shard " + weights.missing + " is missing", folder.string(),
                  "the download is incomplete: fetch the model again");
    }

    ModelFiles result;
    result.files_.reserve(weights.names.size());  // entries are referred to by address
    for (const std::string& name : weights.names) {
      result.files_.push_back(format::SafetensorsFile::open(folder / name));
    }
    std::string warning = weights.warning;
    if (weights.by_index) warning = compare_index(index_text, index, result.files_);
    if (!warning.empty()) result.warnings_.push_back(index.string() + ": " + warning);
    return result;
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::io, error.code().message(), folder.string());
  }
}

void ModelFiles::require_intact() const {
  for (const format::SafetensorsFile& file : files_) file.require_intact();
}

std::vector<FileTensor> ModelFiles::tensors() const {
  std::vector<FileTensor> all;
  for (const format::SafetensorsFile& file : files_) {
    for (const format::TensorEntry& entry : file.entries()) all.push_back({&file, &entry});
  }
  return all;
}

}  // namespace prosa::checkpoint
