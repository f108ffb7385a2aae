// Which files belong to a model folder, and opening them. Not the binding to a model (loader.cpp).
#include "checkpoint/model_files.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "base/keyed_hash.h"
#include "checkpoint/json_object.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kMtpName = "mtp.safetensors";
constexpr size_t kMaxShards = 4096;

/// tensor name -> shard name, as the index states it.
using WeightMap = KeyedMap<std::string>;

WeightMap read_index(const fs::path& file) {
  nlohmann::json document = read_json_object(file, size_t{64} << 20);
  const JsonGuard guard(document);
  const JsonObject root(document, file.string());
  const auto map = root.object("weight_map");
  if (!map) root.missing("weight_map");
  WeightMap result;
  for (const auto& [tensor, shard] : map->value().items()) {
    // A shard is a plain name inside the folder: an index must not reach other files of the machine.
    const bool plain = shard.is_string() && !shard.get_ref<const std::string&>().empty() &&
                       shard.get_ref<const std::string&>().find_first_of("/\\") == std::string::npos &&
                       !shard.get_ref<const std::string&>().starts_with('.') &&
                       shard.get_ref<const std::string&>().find('\0') == std::string::npos;
    if (!plain) map->bad(tensor, "the name of a file in the same folder");
    result.emplace(tensor, shard.get<std::string>());
  }
  if (result.empty()) root.bad("weight_map", "at least one tensor");
  return result;
}

void check_index(const fs::path& index_file, const WeightMap& map, const std::vector<format::SafetensorsFile>& files) {
  KeyedMap<const format::SafetensorsFile*> by_name;
  for (const format::SafetensorsFile& file : files) by_name.emplace(file.path().filename().string(), &file);
  for (const auto& [tensor, shard] : map) {
    if (by_name.at(shard)->find(tensor) == nullptr) {
      throw Error(ErrorCode::not_found, "tensor '" + tensor + "' is not in " + shard + ", where the index puts it",
                  index_file.string(), "fetch the model again");
    }
  }
}

std::vector<std::string> files_without_index(const fs::path& folder) {
  if (fs::exists(folder / "model.safetensors")) return {"model.safetensors"};
  std::vector<std::string> found;
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (item.path().extension() == ".safetensors" && name != kMtpName && !name.starts_with('.')) found.push_back(name);
  }
  std::ranges::sort(found);
  if (found.empty()) {
    throw Error(ErrorCode::not_found, "no safetensors file in the folder", folder.string(),
                "a model folder holds model.safetensors or shards with " + std::string(kIndexName));
  }
  if (found.size() > 1) {
    throw Error(ErrorCode::bad_checkpoint,
                std::to_string(found.size()) + " safetensors files (" + found[0] + ", " + found[1] +
                    (found.size() > 2 ? ", …" : "") + ") but no " + kIndexName,
                folder.string(), "add the index file, or keep one file only");
  }
  return found;
}

std::vector<std::string> file_names(const fs::path& folder, const WeightMap& map) {
  if (map.empty()) return files_without_index(folder);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map) shards.insert(shard);
  if (shards.size() > kMaxShards) {
    throw Error(ErrorCode::bad_checkpoint, "the index names " + std::to_string(shards.size()) + " shards",
                (folder / kIndexName).string());
  }
  for (const std::string& shard : shards) {
    if (!fs::exists(folder / shard)) {
      throw Error(ErrorCode::not_found, "the shard " + shard + " is missing", folder.string(),
                  "the download is incomplete: fetch the model again");
    }
  }
  return {shards.begin(), shards.end()};
}

}  // namespace

ModelFiles ModelFiles::open(const fs::path& folder) {
  try {
    WeightMap map;
    if (fs::exists(folder / kIndexName)) map = read_index(folder / kIndexName);
    std::vector<std::string> names = file_names(folder, map);
    if (fs::exists(folder / kMtpName) && std::ranges::find(names, kMtpName) == names.end()) names.push_back(kMtpName);

    ModelFiles result;
    result.files_.reserve(names.size());  // entries are referred to by address
    for (const std::string& name : names) result.files_.push_back(format::SafetensorsFile::open(folder / name));
    if (!map.empty()) check_index(folder / kIndexName, map, result.files_);
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
