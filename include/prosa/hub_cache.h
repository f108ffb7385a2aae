// What the Hugging Face cache of this machine holds, and short names for models of the hub.
//
// The cache is shared with Python's tools: what is listed and removed here is theirs, too. Fetching is hub.h. Never
// goes to the network. Environment: as hub.h. Thread safety: all functions may be called from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace prosa {

/// A short name that stands for a model of the hub wherever a name is taken: "qwen3.5-0.8b".
struct ModelAlias {
  std::string_view alias;
  std::string_view name;   // owner/name
  std::string_view about;  // for people
};
std::span<const ModelAlias> model_aliases() noexcept;
/// "qwen3.5-0.8b@v1" -> "Qwen/Qwen3.5-0.8B@v1"; upper and lower case are the same. Nothing when there is no such alias.
std::optional<std::string> expand_alias(std::string_view name);

/// A repository in the cache.
struct CachedRepository {
  std::string name;  // owner/name
  std::string folder;
  int64_t bytes = 0;     // on disk
  int64_t last_use = 0;  // of any of its files, in seconds since 1970, as exact as the file system keeps it
  bool partial = false;  // a download is under way or was cut off
  std::vector<std::string> revisions = {};  // branches and tags that it knows, "main" among them
};
/// All of them by name, those of other programs included. Empty when there is no cache. Errors: io.
std::vector<CachedRepository> list_cached();
/// `name`: owner/name or an alias. Nothing when the cache does not have it. Errors: invalid_argument (no such name),
/// io.
std::optional<CachedRepository> find_cached(const std::string& name);
/// Takes it out of the cache with all its revisions. Errors: invalid_argument, not_found, busy (something is fetching
/// it), io.
void remove_cached(const std::string& name);

}  // namespace prosa
