// Paths of the cache, its small files, and what a snapshot lacks.
#include "hub/cache.h"

#include <algorithm>
#include <system_error>

#include "base/files.h"
#include "hub/file.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxRefBytes = 64;

bool is_below(const fs::path& path, const fs::path& folder) {
  const auto [end, rest] = std::ranges::mismatch(folder, path);
  return end == folder.end();
}

}  // namespace

RepositoryCache::RepositoryCache(fs::path cache, const HubName& name)
    : cache_(std::move(cache)), title_("models--" + name.owner + "--" + name.name) {
  folder_ = cache_ / title_;
}

fs::path RepositoryCache::partial(const std::string& etag) const { return blob(etag + ".prosa.incomplete"); }
fs::path RepositoryCache::journal(const std::string& etag) const { return blob(etag + ".prosa.journal"); }
fs::path RepositoryCache::python_partial(const std::string& etag) const { return blob(etag + ".incomplete"); }
fs::path RepositoryCache::lock(const std::string& etag) const { return cache_ / ".locks" / title_ / (etag + ".lock"); }

std::optional<std::string> RepositoryCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  if (!is_revision(revision)) return std::nullopt;
  std::string commit;
  try {
    commit = read_optional_file(folder_ / "refs" / revision, kMaxRefBytes).value_or("");
  } catch (const Error&) {  // a folder, or damaged: as if it were not there
    return std::nullopt;
  }
  while (commit.ends_with('\n')) commit.pop_back();
  // Not only commits: other servers name their revisions otherwise.
  return is_plain_part(commit) ? std::optional(commit) : std::nullopt;
}

void RepositoryCache::prepare() const {
  make_folders(folder_ / "blobs");
  make_folders(folder_ / "snapshots");
  make_folders(folder_ / "refs");
  make_folders(cache_ / ".locks" / title_);
  const fs::path tag = cache_ / "CACHEDIR.TAG";
  std::error_code ignored;
  if (fs::exists(tag, ignored)) return;
  try {
    write_small_file(tag,
                     "Signature: 8a477f597d28d172789f06886806bc55\n"
                     "# Model files that can be downloaded again; backups may leave this folder out.\n");
  } catch (const Error&) {  // a courtesy
  }
}

void RepositoryCache::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return;
  const fs::path file = folder_ / "refs" / revision;
  make_folders(file.parent_path());
  write_small_file(file, commit);
}

void RepositoryCache::link(const std::string& commit, const std::string& path, const std::string& etag) const {
  const fs::path link = snapshot(commit) / path;
  make_folders(link.parent_path());
  fs::path target = "../..";
  for (auto depth = std::ranges::count(path, '/'); depth > 0; --depth) target /= "..";
  target = target / "blobs" / etag;
  std::error_code error;
  if (fs::read_symlink(link, error) == target && !error) return;
  replace_link(link, target);
}

std::optional<std::string> RepositoryCache::linked_etag(const std::string& commit, const std::string& path) const {
  std::error_code error;
  const fs::path target = fs::read_symlink(snapshot(commit) / path, error);
  if (error || target.parent_path().filename() != "blobs") return std::nullopt;
  return target.filename().string();
}

bool RepositoryCache::has(const std::string& commit, const std::string& path) const {
  const fs::path link = snapshot(commit) / path;
  std::error_code error;
  if (!fs::exists(link, error)) return false;
  // The whole cache or a whole repository may lie elsewhere; a single file that does was put there to be read by
  // mistake.
  const fs::path real = fs::canonical(link, error);
  for (const fs::path& root : {cache_, folder_, folder_ / "blobs"}) {
    std::error_code absent;
    const fs::path folder = fs::canonical(root, absent);
    if (!error && !absent && is_below(real, folder)) return true;
  }
  throw Error(ErrorCode::bad_checkpoint, "leads out of the hub cache, to " + real.string(), link.string(),
              "remove the link, then pull the model again");
}

std::optional<std::string> RepositoryCache::missing(const std::string& commit, const std::string& subfolder,
                                                    Parts parts) const {
  const fs::path folder = snapshot(commit) / subfolder;
  const std::string prefix = subfolder.empty() ? "" : subfolder + "/";
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator item(folder, error); !error && item != fs::directory_iterator(); item.increment(error)) {
    const std::string name = item->path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.') || item->is_directory(ignored)) continue;
    if (has(commit, prefix + name)) names.insert(name);
  }
  if (!names.contains(config_name)) return config_name;
  if (parts == Parts::text) {
    return names.contains("tokenizer.json") ? std::nullopt : std::optional<std::string>("tokenizer.json");
  }
  const fs::path index = folder / index_name;
  const std::string index_text =
      names.contains(index_name) ? read_file(index, kMaxIndexBytes, ErrorCode::bad_checkpoint) : std::string();
  const auto weights = weight_files(names, index_text, names.contains(index_name) ? index.string() : folder.string());
  if (weights.names.empty()) return "model.safetensors";
  return weights.missing.empty() ? std::nullopt : std::optional(weights.missing);
}

}  // namespace prosa::hub
