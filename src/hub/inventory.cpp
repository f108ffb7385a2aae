// The cache as a whole: its repositories, what they take, and taking one away.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/boundary.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "hub/cache.h"
#include "hub/settings.h"
#include "prosa/error.h"
#include "prosa/hub_cache.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using hub::HubName;

constexpr std::string_view kPrefix = "models--";

/// "models--owner--name" -> "owner/name"; "" for what is no repository.
std::string name_of(const std::string& folder) {
  if (!folder.starts_with(kPrefix)) return {};
  std::string name = folder.substr(kPrefix.size());
  const size_t seam = name.find("--");
  if (seam != std::string::npos) name.replace(seam, 2, "/");
  return name;
}

/// Calls visit(path, status) for the plain files below `folder`; links are not followed.
template <typename Visit>
void for_each_file(const fs::path& folder, Visit&& visit) {
  std::error_code error;
  fs::recursive_directory_iterator item(folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && item != fs::recursive_directory_iterator(); item.increment(error)) {
    struct stat status {};
    if (::lstat(item->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) visit(item->path(), status);
  }
}

CachedRepository describe(const fs::path& folder) {
  constexpr int64_t kBlock = 512;  // the unit of st_blocks
  CachedRepository repository;
  repository.name = name_of(folder.filename().string());
  repository.folder = folder.string();
  for_each_file(folder / "blobs", [&](const fs::path& path, const struct stat& status) {
    repository.bytes += std::min<int64_t>(status.st_blocks * kBlock, status.st_size);  // a file under way has gaps
    repository.last_use = std::max<int64_t>({repository.last_use, status.st_atime, status.st_mtime});
    if (path.extension() == ".incomplete") repository.partial = true;
  });
  const fs::path refs = folder / "refs";
  for_each_file(refs, [&](const fs::path& path, const struct stat&) {
    repository.revisions.push_back(path.lexically_relative(refs).string());
  });
  std::ranges::sort(repository.revisions);
  return repository;
}

/// Of a repository as a whole: a name with a subfolder or revision would promise less than what is removed.
HubName repository_name(const std::string& name) {
  const auto parsed = hub::parse_hub_name(expand_alias(name).value_or(name));
  if (parsed && parsed->subfolder.empty() && parsed->revision.empty()) return *parsed;
  throw Error(ErrorCode::invalid_argument, "'" + name + "' does not name a repository of the hub", {},
              "write owner/name or an alias, without subfolder and revision");
}

/// The locks of all downloads of the repository, held until the result dies. Error(busy).
std::vector<Descriptor> lock_all(const fs::path& locks, const std::string& name) {
  std::vector<Descriptor> held;
  for_each_file(locks, [&](const fs::path& path, const struct stat&) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return;  // gone meanwhile
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      throw Error(ErrorCode::busy, "is being downloaded", name, "wait for that, or stop it first");
    }
    held.push_back(std::move(file));
  });
  return held;
}

}  // namespace

std::vector<CachedRepository> list_cached() {
  return at_boundary([] {
    std::vector<CachedRepository> list;
    std::error_code error;
    for (fs::directory_iterator item(hub::hub_cache_folder(), error), end; !error && item != end;
         item.increment(error)) {
      std::error_code ignored;
      const std::string folder = item->path().filename().string();
      if (!name_of(folder).empty() && item->is_directory(ignored)) list.push_back(describe(item->path()));
    }
    std::ranges::sort(list, {}, &CachedRepository::name);
    return list;
  });
}

std::optional<CachedRepository> find_cached(const std::string& name) {
  return at_boundary([&]() -> std::optional<CachedRepository> {
    const fs::path folder = hub::RepositoryCache(hub::hub_cache_folder(), repository_name(name)).folder();
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) return std::nullopt;
    return describe(folder);
  });
}

void remove_cached(const std::string& name) {
  at_boundary([&] {
    const HubName repository = repository_name(name);
    const fs::path cache = hub::hub_cache_folder();
    const fs::path folder = hub::RepositoryCache(cache, repository).folder();
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
      throw Error(ErrorCode::not_found, "is not in the cache", repository.repository(), "prosa list shows what is");
    }
    const fs::path locks = cache / ".locks" / folder.filename();
    const std::vector<Descriptor> held = lock_all(locks, repository.repository());
    // First under another name: nobody finds half a model.
    const fs::path going = cache / (".removing-" + folder.filename().string());
    fs::remove_all(going, error);
    fs::rename(folder, going, error);
    if (error) throw_io(folder, "can't remove it", error.value());
    fs::remove_all(going, error);
    if (error) throw_io(going, "can't remove it", error.value());
    fs::remove_all(locks, error);  // a courtesy
  });
}

}  // namespace prosa
