// Names are hashes of model, layout and tokens; the tokens inside decide. A file's time says when it was used.
#include "runtime/disk_cache.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/temporary.h"
#include "prosa/error.h"

namespace prosa::runtime {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".prosa-session";
constexpr size_t kHashDigits = 32;

/// Whether the cache itself gives such names: a user may keep a talk.prosa-session in the same folder.
bool is_cache_name(std::string_view name) {
  return name.size() == kHashDigits + kSuffix.size() && name.ends_with(kSuffix) &&
         name.find_first_not_of("0123456789abcdef") == kHashDigits;
}

}  // namespace

DiskCache::DiskCache(fs::path folder, int64_t byte_limit, FileIdentity identity)
    : folder_(std::move(folder)), byte_limit_(byte_limit), identity_(std::move(identity)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error || !fs::is_directory(folder_)) {
    throw Error(ErrorCode::io, "can't make the cache folder: " + error.message(), folder_.string());
  }
}

fs::path DiskCache::path_of(std::span<const int32_t> tokens) const {
  const uint64_t seed = XXH3_64bits_withSeed(identity_.layout.data(), identity_.layout.size(), identity_.model);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(tokens.data(), tokens.size_bytes(), seed);
  return folder_ / fmt::format("{:016x}{:016x}{}", hash.high64, hash.low64, kSuffix);
}

void DiskCache::fetch(StateStore& store, backend::Backend& backend, std::span<const int32_t> tokens) {
  if (tokens.empty() || store.contains(tokens)) return;
  const fs::path path = path_of(tokens);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  try {
    SessionFile file = read_session_file(path, identity_, backend, std::ssize(tokens));
    if (!std::ranges::equal(file.tokens, tokens)) return;
    store.add(tokens, std::move(file.snapshot));
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::bad_session) fs::remove(path, ignored);
  }
}

void DiskCache::keep(StateStore& store, std::span<const int32_t> tokens) {
  if (tokens.empty()) return;
  const fs::path path = path_of(tokens);
  std::error_code ignored;
  if (fs::exists(path, ignored)) return;
  const auto stored = store.find(tokens, static_cast<int64_t>(tokens.size()));  // one that everybody may have
  if (!stored || stored->tokens.size() != tokens.size()) return;
  try {
    write_session_file(path, identity_, {.tokens = tokens, .snapshot = *stored->snapshot});
    trim(path);
  } catch (const Error&) {  // a full disk is no reason to fail a reply
  }
}

void DiskCache::trim(const fs::path& newest) {
  struct File {
    fs::path path;
    fs::file_time_type used;
    int64_t bytes;
  };
  remove_leftovers(folder_, is_cache_name);
  std::vector<File> files;
  int64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    if (!is_cache_name(entry->path().filename().string())) continue;
    std::error_code gone;  // another process may remove it meanwhile
    const auto used = entry->last_write_time(gone);
    const auto bytes = gone ? 0 : entry->file_size(gone);
    if (gone) continue;
    files.push_back({entry->path(), used, static_cast<int64_t>(bytes)});
    total += files.back().bytes;
  }
  std::ranges::sort(files, {}, &File::used);
  for (const File& file : files) {
    if (total <= byte_limit_) return;
    if (file.path == newest && file.bytes <= byte_limit_) continue;
    if (fs::remove(file.path, error)) total -= file.bytes;
  }
}

}  // namespace prosa::runtime
