// From what people call a model to a folder that is whole: locate_model(), and the hub where that does not suffice.
//
// Invariant: the network is touched only for a hub name whose model the cache does not have whole, and never offline.
#pragma once

#include <filesystem>
#include <string>

#include "hub/cache.h"
#include "hub/settings.h"
#include "prosa/hub.h"

namespace prosa {

/// `asked`: as for locate_model(), or an alias (prosa/hub_cache.h). PullOptions::verify is not looked at. Errors: those
/// of locate_model() and pull(); invalid_argument for a revision of what is no hub name.
std::filesystem::path resolve_model(const std::string& asked, const PullOptions& options = {});

namespace hub {

/// What the cache knows of a model.
struct CachedModel {
  std::string commit;            // "": it does not know the revision
  std::filesystem::path folder;  // the snapshot, with the subfolder
  std::string missing;           // a file it lacks; "": nothing, the model is whole
};

/// `name.revision` must be given. Errors: as RepositoryCache::missing().
CachedModel find_cached(const HubName& name, const std::filesystem::path& cache, Parts parts);

/// What a pull() of it says: everything was here.
PullReport report_cached(const HubName& name, const CachedModel& cached);

/// Error(not_found): offline, and this is what the cache has.
[[noreturn]] void fail_not_cached(const HubName& name, const Settings& settings, const CachedModel& cached);

/// prosa::pull() with settings from elsewhere than the environment.
PullReport pull(const HubName& name, const Settings& settings, const PullOptions& options);

}  // namespace hub
}  // namespace prosa
