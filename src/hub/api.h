// What the hub says of a repository and of its files, and what its refusals mean.
//
// Downloads nothing. Invariant: text from the server is bounded and checked before it becomes a path or a number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hub/fetch.h"
#include "hub/name.h"

namespace prosa::hub {

/// A repository at one revision.
struct Repository {
  std::string commit;              // 40 hexadecimal digits
  std::vector<std::string> files;  // paths from the root, as the server wrote them: not yet safe
};

/// A file as the hub describes it.
struct RemoteFile {
  std::string path;              // from the repository's root, for messages too
  std::string url;               // at the hub
  std::string direct;            // where the hub's storage has it; "": at `url` itself
  std::string etag;              // SHA-256, git's SHA-1, or some other plain word
  std::optional<uint64_t> size;  // as announced
};

class HubApi {
 public:
  /// All outlive this object.
  HubApi(const Settings& settings, HttpClient& client, const Observer& observer, const HubName& name)
      : settings_(settings), client_(client), observer_(observer), name_(name) {}

  /// Errors: not_found (repository, revision), access_denied, network, cancelled.
  [[nodiscard]] Repository repository(const std::string& revision) const;
  /// Errors: the same, and not_found for the file.
  [[nodiscard]] RemoteFile file(const std::string& commit, const std::string& path) const;

 private:
  const Settings& settings_;
  HttpClient& client_;
  const Observer& observer_;
  const HubName& name_;
};

/// What an answer that is no success means. `path`: the file asked for, or "".
[[noreturn]] void refuse(const Settings& settings, const HubName& name, const std::string& path,
                         const HttpResponse& response);

}  // namespace prosa::hub
