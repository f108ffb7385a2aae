// One file of a repository into the cache: locked, continued, checked, and only then named.
//
// Invariant: what appears under blobs/ETAG has the size the hub announced and the hash its etag states.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "hub/cache.h"
#include "hub/transfer.h"

namespace prosa::hub {

class Downloader {
 public:
  /// All outlive this object.
  Downloader(const Settings& settings, const HubName& name, const RepositoryCache& cache, const Observer& observer,
             Reporter& reporter);

  /// For other requests to the same hub, between downloads.
  [[nodiscard]] HttpClient& client() { return *clients_.front(); }

  /// Afterwards the blob is there. Waits for another process that fetches it. Errors: network (also: other bytes than
  /// the hash says), access_denied, not_found, io, cancelled.
  void fetch(const RemoteFile& file);

 private:
  void fetch_locked(const RemoteFile& file);
  std::string receive(const RemoteFile& file, const File& into, bool& resumed);

  const Settings& settings_;
  const HubName& name_;
  const RepositoryCache& cache_;
  const Observer& observer_;
  Reporter& reporter_;
  std::atomic<bool> abandon_{false};
  std::vector<std::unique_ptr<HttpClient>> clients_;
};

}  // namespace prosa::hub
