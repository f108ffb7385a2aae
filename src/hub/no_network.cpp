// What stands in the place of downloading where prosa was built without it (PROSA_HUB=OFF): a model that is not in the
// cache is an error that says so.
#include "hub/resolve.h"
#include "prosa/error.h"

namespace prosa::hub {

PullReport pull(const HubName& name, const Settings& settings, const PullOptions& options) {
  HubName full = name;
  if (!options.revision.empty()) full.revision = options.revision;
  if (full.revision.empty()) full.revision = "main";
  const CachedModel cached = find_cached(full, settings.cache, options.text_only ? Parts::text : Parts::all);
  if (cached.missing.empty()) return report_cached(full, cached);
  throw Error(ErrorCode::unsupported,
              "it is not whole in the hub cache (" + RepositoryCache(settings.cache, full).folder().string() +
                  "), and this prosa was built without downloading",
              full.text(), "fetch it with another program, name a folder, or build prosa with PROSA_HUB=ON");
}

}  // namespace prosa::hub
