// Models from a hub (Hugging Face, or what HF_ENDPOINT names): fetching them into the cache that Python's tools share.
//
// Loading a model by name (Model, Chat) does this by itself; pull() is for doing it ahead, or with a report. What is
// already in the cache is used as it is; an interrupted download goes on where it stopped. docs/reference/hub.md.
//
// Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, and libcurl's https_proxy,
// no_proxy. Thread safety: pull() may be called from any number of threads and processes; they wait for each other
// where they want the same file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace prosa {

/// Where a download stands.
struct DownloadProgress {
  std::string_view file;        // being fetched
  int64_t done_bytes = 0;       // of all files, with those an earlier attempt had left
  int64_t total_bytes = 0;      // of all files that had to be fetched
  double bytes_per_second = 0;  // lately; 0: not known yet
  double seconds_left = -1;     // < 0: not known yet
  std::string_view notice;      // "", or something a person should know: waiting for another process, trying again
};

struct PullOptions {
  std::string revision = {};                  // a branch, tag or commit; "": as the name says, else "main"
  bool offline = false;                       // look into the cache only
  bool text_only = false;                     // tokenizer and template without the weights
  bool verify = false;                        // hash again what the cache already has, and replace what is damaged
  const std::atomic<bool>* cancel = nullptr;  // set by any thread: Error(cancelled); what was fetched is kept
  /// About ten times a second, on the calling thread. What it throws ends the download and reaches the caller.
  std::function<void(const DownloadProgress&)> progress = {};
};

struct PulledFile {
  std::string name;            // path in the repository
  int64_t bytes = 0;           // of the whole file
  int64_t received_bytes = 0;  // over the network now; 0: the cache had it
};

struct PullReport {
  std::string folder;  // the snapshot, with the subfolder that was asked for
  std::string commit;
  std::vector<PulledFile> files;
};

/// `name`: owner/name[:subfolder][@revision]. Asks the hub what the revision means now and fetches what the cache
/// lacks. Errors: invalid_argument (not such a name), not_found (repository, revision, file, no weights; offline: not
/// in the cache), access_denied (gated, private), network, io (disk full, cache not writable), bad_checkpoint (a
/// damaged index; a cached file that leads out of the cache), cancelled.
PullReport pull(const std::string& name, const PullOptions& options = {});

}  // namespace prosa
