// The Hugging Face cache on disk, laid out as Python's huggingface_hub does, so that both find each other's files.
//
//   CACHE/models--owner--name/refs/REVISION        the commit a branch or tag meant when it was last fetched
//   CACHE/models--owner--name/blobs/ETAG           the bytes of a file, named by their hash
//   CACHE/models--owner--name/snapshots/COMMIT/…   the repository's paths: relative links to blobs
//   CACHE/.locks/models--owner--name/ETAG.lock     flock() of whoever downloads that blob
//
// Under way is blobs/ETAG.prosa.incomplete with ETAG.prosa.journal beside it: not Python's own name, because a file
// with gaps would look finished there. No network. Invariant: a name under blobs/ without a suffix is a whole file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "hub/manifest.h"
#include "hub/name.h"

namespace prosa::hub {

class RepositoryCache {
 public:
  RepositoryCache(std::filesystem::path cache, const HubName& name);

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  [[nodiscard]] std::filesystem::path snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }
  [[nodiscard]] std::filesystem::path blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  [[nodiscard]] std::filesystem::path partial(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path journal(const std::string& etag) const;
  /// What earlier versions of huggingface_hub leave: the file's beginning, without a gap.
  [[nodiscard]] std::filesystem::path python_partial(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path lock(const std::string& etag) const;

  /// What a branch or tag last meant here; a commit means itself. Nothing when the cache does not know.
  [[nodiscard]] std::optional<std::string> commit_of(const std::string& revision) const;
  /// Makes the folders and the cache's tag for backup programs. Errors: io.
  void prepare() const;
  /// No effect for a revision that is the commit itself.
  void write_ref(const std::string& revision, const std::string& commit) const;
  /// snapshots/COMMIT/PATH shows the blob.
  void link(const std::string& commit, const std::string& path, const std::string& etag) const;
  /// The etag of the blob that snapshots/COMMIT/PATH shows; nothing when it shows none that is there.
  [[nodiscard]] std::optional<std::string> linked_etag(const std::string& commit, const std::string& path) const;
  /// Whether snapshots/COMMIT/PATH is there. Error(bad_checkpoint) when it leads out of the cache.
  [[nodiscard]] bool has(const std::string& commit, const std::string& path) const;

  /// The first file a model in `subfolder` lacks; nothing when it is whole. Errors: bad_checkpoint (also: a link that
  /// leads out of the cache), io.
  [[nodiscard]] std::optional<std::string> missing(const std::string& commit, const std::string& subfolder,
                                                   Parts parts) const;

 private:
  std::filesystem::path cache_;
  std::filesystem::path folder_;
  std::string title_;  // models--owner--name
};

}  // namespace prosa::hub
