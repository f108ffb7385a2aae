// The choice of files. docs/reference/checkpoints.md says what a folder may hold; the order of search here is the same.
#include "hub/manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

constexpr const char* kWholeName = "model.safetensors";
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

/// Templates beside the model's own, one for tools among them: files of this folder, not of those below it.
constexpr std::string_view kTemplates = "additional_chat_templates/";
constexpr std::string_view kTemplate = ".jinja";
constexpr size_t kMaxTemplates = 16;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && name.front() != '.' && std::ranges::none_of(name, [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

/// The parts of a name such as model-00001-of-00003.safetensors, which is never the whole model.
struct ShardName {
  std::string_view stem;   // "model"
  std::string_view total;  // "00003", as wide as the number before it
  int64_t number = 0;
  int64_t count = 0;
};

std::optional<ShardName> shard_name(std::string_view name) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kDigits = 5;
  name.remove_suffix(name.ends_with(kWeights) ? kWeights.size() : 0);
  const size_t of = name.rfind(kOf);
  if (of == std::string_view::npos || of < kDigits + 1 || name[of - kDigits - 1] != '-') return std::nullopt;
  ShardName shard;
  shard.stem = name.substr(0, of - kDigits - 1);
  shard.total = name.substr(of + kOf.size());
  const auto read = [](std::string_view digits, int64_t& number) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return digits.size() == kDigits && error == std::errc() && end == digits.data() + digits.size() && number > 0;
  };
  if (!read(name.substr(of - kDigits, kDigits), shard.number) || !read(shard.total, shard.count)) return std::nullopt;
  return shard;
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

/// Shards that belong together by their names.
struct ShardSet {
  std::vector<std::string> present;
  std::string missing;  // the first that is not there; "": the set is complete
};

std::vector<ShardSet> shard_sets(const std::set<std::string>& names) {
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> groups;  // by stem and total
  for (const std::string& name : names) {
    if (!name.ends_with(kWeights)) continue;
    if (const auto shard = shard_name(name)) {
      groups[{std::string(shard->stem), std::string(shard->total)}].push_back(name);
    }
  }
  std::vector<ShardSet> sets;
  for (auto& [key, present] : groups) {
    ShardSet& set = sets.emplace_back();
    const int64_t count = shard_name(present.front())->count;
    for (int64_t number = 1; number <= count && set.missing.empty(); ++number) {
      const std::string name = fmt::format("{}-{:05}-of-{}{}", key.first, number, key.second, kWeights);
      if (!names.contains(name)) set.missing = name;
    }
    set.present = std::move(present);
  }
  return sets;
}

/// Files that are neither shards nor the MTP head.
std::vector<std::string> plain_weights(const std::set<std::string>& names) {
  std::vector<std::string> files;
  for (const std::string& name : names) {
    if (name.ends_with(kWeights) && name != kMtpName && !name.starts_with('.') && !shard_name(name)) {
      files.push_back(name);
    }
  }
  return files;
}

/// What the names alone say.
WeightFiles files_by_name(const std::set<std::string>& names, const std::string& where) {
  if (names.contains(kWholeName)) return {{kWholeName}};
  std::vector<ShardSet> sets = shard_sets(names);
  std::vector<ShardSet> complete;
  std::ranges::copy_if(sets, std::back_inserter(complete), [](const ShardSet& set) { return set.missing.empty(); });
  if (complete.size() > 1) {
    throw Error(ErrorCode::bad_checkpoint,
                "two sets of shards (" + complete[0].present[0] + ", " + complete[1].present[0] + ") but no " +
                    index_name + " that says which is the model",
                where, "remove one of them");
  }
  if (complete.size() == 1) return {complete[0].present};
  if (!sets.empty()) return {sets[0].present, sets[0].missing};
  std::vector<std::string> files = plain_weights(names);
  if (files.size() < 2) return {files};
  const auto is_model = [](const std::string& name) { return name.starts_with("model"); };
  if (std::ranges::any_of(files, is_model)) {  // mlx-lm reads model*.safetensors
    std::erase_if(files, std::not_fn(is_model));
    return {files};
  }
  throw Error(ErrorCode::bad_checkpoint,
              std::to_string(files.size()) + " safetensors files (" + files[0] + ", " + files[1] +
                  (files.size() > 2 ? ", …" : "") + ") but no " + index_name,
              where, "add the index file, keep one file only, or name another folder");
}

std::string are_read(const std::vector<std::string>& names) {
  if (names.size() == 1) return names[0] + " is read";
  return fmt::format("the {} files from {} to {} are read", names.size(), names.front(), names.back());
}

/// With an index that names `shards`.
WeightFiles files_by_index(const std::set<std::string>& names, const std::vector<std::string>& shards,
                           const std::string& where) {
  const auto is_there = [&](const std::string& shard) { return names.contains(shard); };
  const bool whole = names.contains(kWholeName);
  const auto absent = std::ranges::find_if_not(shards, is_there);
  if (absent == shards.end() && (!whole || std::ranges::find(shards, kWholeName) != shards.end())) {
    return {shards, "", true};
  }
  const auto warn = [&](WeightFiles files, const std::string& why) {
    files.warning = fmt::format("{}, so {}", why, are_read(files.names));
    return files;
  };
  if (absent == shards.end()) return warn({{kWholeName}}, "there are both model.safetensors and the index's shards");
  const std::string why = fmt::format("the index names {}, which is not there", *absent);
  const auto sets = shard_sets(names);
  const bool complete = std::ranges::any_of(sets, [](const ShardSet& set) { return set.missing.empty(); });
  // A part of what the index names is a download that was cut off, unless something else is whole.
  if (whole || complete) return warn(files_by_name(names, where), why);
  if (std::ranges::none_of(shards, is_there) && sets.empty() && !plain_weights(names).empty()) {
    return warn(files_by_name(names, where), why);
  }
  return {shards, *absent, true};
}

}  // namespace

std::set<std::string> names_in(const std::vector<std::string>& paths, const std::string& subfolder) {
  const std::string prefix = subfolder.empty() ? "" : subfolder + "/";
  std::set<std::string> names;
  for (const std::string& path : paths) {
    if (!path.starts_with(prefix)) continue;
    const std::string name = path.substr(prefix.size());
    const bool of_templates = name.starts_with(kTemplates) && name.ends_with(kTemplate);
    if (is_plain_name(of_templates ? name.substr(kTemplates.size()) : name)) names.insert(name);
  }
  return names;
}

std::vector<std::string> text_files(const std::set<std::string>& names) {
  std::vector<std::string> files;
  for (const char* name : kTextFiles) {
    if (names.contains(name)) files.emplace_back(name);
  }
  size_t templates = 0;
  for (const std::string& name : names) {
    if (name.starts_with(kTemplates) && templates++ < kMaxTemplates) files.push_back(name);
  }
  return files;
}

WeightFiles weight_files(const std::set<std::string>& names, std::string_view index_text, const std::string& where) {
  WeightFiles files;
  if (!names.contains(index_name)) {
    files = files_by_name(names, where);
  } else {
    std::vector<std::string> shards;
    std::optional<Error> broken;
    try {
      shards = shards_of(index_text, where);
    } catch (const Error& error) {
      broken = error;
    }
    if (!broken) {
      files = files_by_index(names, shards, where);
    } else {
      files = files_by_name(names, where);
      if (files.names.empty() || !files.missing.empty()) throw Error(*broken);
      files.warning = fmt::format("the index is of no use ({}), so {}", broken->message(), are_read(files.names));
    }
  }
  if (!files.names.empty() && names.contains(kMtpName) &&
      std::ranges::find(files.names, kMtpName) == files.names.end()) {
    files.names.emplace_back(kMtpName);
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
