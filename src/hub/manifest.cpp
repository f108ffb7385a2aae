// The choice of files. docs/reference/checkpoints.md says what a folder may hold; the order of search here is the same.
#include "hub/manifest.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

constexpr const char* kMtpName = "mtp.safetensors";
constexpr std::string_view kWeights = ".safetensors";
constexpr size_t kMaxShards = 4096;
constexpr const char* kDamaged = "the repository is damaged";

/// Some are not read by prosa, but by other tools that share the cache; all of them are small.
constexpr std::array kTextFiles = {config_name,
                                   "generation_config.json",
                                   "tokenizer.json",
                                   "tokenizer_config.json",
                                   "chat_template.jinja",
                                   "chat_template.json",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "vocab.json",
                                   "merges.txt"};

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && name.front() != '.' && std::ranges::none_of(name, [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

/// model-00001-of-00003.safetensors: never the whole model.
bool is_shard(std::string_view name) {
  const size_t of = name.rfind("-of-");
  return of != std::string_view::npos && of >= 5 && name.find_first_not_of("0123456789", of - 5) == of;
}

std::vector<std::string> shards_of(std::string_view index_text, const std::string& where) {
  const auto fail = [&](const std::string& what) { throw Error(ErrorCode::bad_checkpoint, what, where, kDamaged); };
  const nlohmann::json document =
      parse_json(index_text, {where, ErrorCode::bad_checkpoint, kDamaged}, {.max_bytes = kMaxIndexBytes});
  const auto map = document.is_object() ? document.find("weight_map") : document.end();
  if (!document.is_object() || map == document.end() || !map->is_object() || map->empty()) {
    fail("has no weight_map");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : std::string();
    if (!is_plain_name(name) || !name.ends_with(kWeights)) {
      fail("puts a tensor into '" + name + "', which is no plain name of a safetensors file");
    }
    shards.insert(name);
  }
  if (shards.size() > kMaxShards) fail("names " + std::to_string(shards.size()) + " files");
  return {shards.begin(), shards.end()};
}

}  // namespace

std::set<std::string> names_in(const std::vector<std::string>& paths, const std::string& subfolder) {
  const std::string prefix = subfolder.empty() ? "" : subfolder + "/";
  std::set<std::string> names;
  for (const std::string& path : paths) {
    if (path.starts_with(prefix) && is_plain_name(path.substr(prefix.size()))) names.insert(path.substr(prefix.size()));
  }
  return names;
}

std::vector<std::string> text_files(const std::set<std::string>& names) {
  std::vector<std::string> files;
  for (const char* name : kTextFiles) {
    if (names.contains(name)) files.emplace_back(name);
  }
  return files;
}

std::vector<std::string> weight_files(const std::set<std::string>& names, std::string_view index_text,
                                      const std::string& where) {
  std::vector<std::string> files;
  if (names.contains(index_name)) {
    files = shards_of(index_text, where);
  } else if (names.contains("model.safetensors")) {
    files = {"model.safetensors"};
  } else {
    for (const std::string& name : names) {
      if (name.ends_with(kWeights) && name != kMtpName) files.push_back(name);
    }
    if (files.size() > 1 && !is_shard(files.front())) {
      throw Error(ErrorCode::bad_checkpoint,
                  std::to_string(files.size()) + " safetensors files (" + files[0] + ", " + files[1] + "…) but no " +
                      index_name,
                  where, "name a subfolder or another repository");
    }
    if (!files.empty() && is_shard(files.front())) return {};
  }
  if (!files.empty() && names.contains(kMtpName) && std::ranges::find(files, kMtpName) == files.end()) {
    files.emplace_back(kMtpName);
  }
  return files;
}

std::vector<std::string> folders_with_weights(const std::vector<std::string>& paths) {
  std::set<std::string> folders;
  for (const std::string& path : paths) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos && path.ends_with(kWeights) && is_plain_name(path.substr(0, slash))) {
      folders.insert(path.substr(0, slash));
    }
  }
  return {folders.begin(), folders.end()};
}

}  // namespace prosa::hub
