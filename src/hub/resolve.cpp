// The decision between the cache and the hub.
#include "hub/resolve.h"

#include <algorithm>
#include <cstdint>
#include <system_error>

#include "base/boundary.h"
#include "hub/locate.h"
#include "prosa/error.h"
#include "prosa/hub_cache.h"

namespace prosa {
namespace hub {

CachedModel find_cached(const HubName& name, const std::filesystem::path& cache, Parts parts) {
  const RepositoryCache repository(cache, name);
  CachedModel model;
  model.missing = config_name;
  const auto commit = repository.commit_of(name.revision);
  if (!commit) return model;
  model.commit = *commit;
  model.folder = repository.snapshot(*commit);
  if (!name.subfolder.empty()) model.folder /= name.subfolder;
  model.missing = repository.missing(*commit, name.subfolder, parts).value_or("");
  return model;
}

void fail_not_cached(const HubName& name, const Settings& settings, const CachedModel& cached) {
  const std::string folder = RepositoryCache(settings.cache, name).folder().string();
  std::error_code ignored;
  const bool begun = !cached.commit.empty() && std::filesystem::is_directory(cached.folder, ignored);
  throw Error(ErrorCode::not_found,
              begun ? "only a part of it is in the hub cache (" + cached.missing + " is missing in " +
                          cached.folder.string() + "), and prosa is offline"
                    : "it is not in the hub cache (" + folder + "), and prosa is offline",
              name.text(), "leave out --offline and HF_HUB_OFFLINE to download it");
}

PullReport report_cached(const HubName& name, const CachedModel& cached) {
  PullReport report{cached.folder.string(), cached.commit, {}};
  const std::string prefix = name.subfolder.empty() ? "" : name.subfolder + "/";
  std::error_code error;
  for (std::filesystem::directory_iterator item(cached.folder, error);
       !error && item != std::filesystem::directory_iterator(); item.increment(error)) {
    std::error_code ignored;
    if (!item->is_regular_file(ignored)) continue;
    report.files.push_back(
        {prefix + item->path().filename().string(), static_cast<int64_t>(item->file_size(ignored)), 0});
  }
  std::ranges::sort(report.files, {}, &PulledFile::name);
  return report;
}

}  // namespace hub

PullReport pull(const std::string& name, const PullOptions& options) {
  return at_boundary([&] {
    const auto hub = hub::parse_hub_name(expand_alias(name).value_or(name));
    if (!hub) {
      throw Error(ErrorCode::invalid_argument, "'" + name + "' is no name of a model on the hub", {},
                  "write owner/name, owner/name:subfolder, owner/name@revision or an alias (prosa list shows them)");
    }
    PullOptions fetch = options;
    fetch.progress = guarded(options.progress);
    return hub::pull(*hub, hub::settings_from_environment(), fetch);
  });
}

std::filesystem::path resolve_model(const std::string& asked, const PullOptions& options) {
  std::error_code ignored;
  // A folder of that name comes first.
  const std::string name = std::filesystem::exists(asked, ignored) ? asked : expand_alias(asked).value_or(asked);
  auto hub_name = name.empty() || name.starts_with("./") || std::filesystem::is_directory(name, ignored)
                      ? std::nullopt
                      : hub::parse_hub_name(name);
  if (!hub_name) {
    if (!options.revision.empty()) {
      throw Error(ErrorCode::invalid_argument, "a revision belongs to a model of the hub (owner/name)",
                  name.empty() ? "the embedded model" : name);
    }
    return locate_model(name);
  }
  if (hub_name->revision.empty()) hub_name->revision = options.revision.empty() ? "main" : options.revision;
  const auto parts = options.text_only ? hub::Parts::text : hub::Parts::all;
  if (options.revision.empty() || options.revision == hub_name->revision) {
    const auto cached = hub::find_cached(*hub_name, hub::hub_cache_folder(), parts);
    if (cached.missing.empty()) return cached.folder;
  }
  PullOptions fetch = options;
  fetch.verify = false;
  return hub::pull(*hub_name, hub::settings_from_environment(), fetch).folder;
}

}  // namespace prosa
