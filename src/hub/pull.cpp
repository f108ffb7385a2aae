// pull(): what the hub has, what the cache lacks, and fetching the difference.
//
// The ref is written last: until a snapshot is whole, the name goes on to mean the one before.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "hub/download.h"
#include "hub/hash.h"
#include "hub/resolve.h"
#include "prosa/error.h"
#include "prosa/hub.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;

std::string human_size(uint64_t bytes) {
  return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6)
                               : fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

class Pull {
 public:
  Pull(const HubName& name, const Settings& settings, const PullOptions& options)
      : name_(name),
        settings_(settings),
        options_(options),
        parts_(options.text_only ? Parts::text : Parts::all),
        prefix_(name.subfolder.empty() ? "" : name.subfolder + "/"),
        cache_(settings.cache, name),
        reporter_(options.progress),
        observer_{[this] { return options_.cancel != nullptr && options_.cancel->load(); },
                  [this](const std::string& line) { tell(line); }},
        downloader_(settings_, name_, cache_, observer_, reporter_),
        api_(settings_, downloader_.client(), observer_, name_) {}

  PullReport run() {
    // A commit never changes: nothing to ask when it is here.
    if (is_commit(name_.revision) && !options_.verify && !cache_.missing(name_.revision, name_.subfolder, parts_)) {
      return report_cached(name_, find_cached(name_, settings_.cache, parts_));
    }
    run_online();
    const fs::path snapshot = cache_.snapshot(report_.commit);
    report_.folder = (name_.subfolder.empty() ? snapshot : snapshot / name_.subfolder).string();
    return std::move(report_);
  }

 private:
  /// At once where that is possible: a wait for the hub's answer may take minutes. Notices of the threads that fetch go
  /// out with the progress.
  void tell(const std::string& line) {
    reporter_.notice(line);
    if (std::this_thread::get_id() == caller_) reporter_.emit();
  }

  void run_online() {
    const Repository repository = api_.repository(name_.revision);
    report_.commit = repository.commit;
    names_ = names_in(repository.files, name_.subfolder);
    if (!names_.contains(config_name)) fail_no_model(repository, "has no config.json");
    cache_.prepare();
    std::vector<std::string> files = text_files(names_);
    if (parts_ == Parts::all) {
      if (names_.contains(index_name)) ensure({index_name});
      const WeightFiles weights = weight_files(names_, index_text(), place(index_name));
      if (weights.names.empty()) fail_no_model(repository, "has no weights (*.safetensors)");
      if (!weights.missing.empty()) {
        throw Error(ErrorCode::not_found,
                    (weights.by_index ? "the index names " : "of the shards there is no ") + weights.missing +
                        (weights.by_index ? ", which the repository does not have" : ""),
                    place(weights.by_index ? index_name : ""), "the repository is damaged");
      }
      files.insert(files.end(), weights.names.begin(), weights.names.end());  // last: they take longest
    }
    ensure(files);
    cache_.write_ref(name_.revision, report_.commit);
  }

  [[nodiscard]] std::string place(const std::string& file) const { return name_.repository() + "/" + prefix_ + file; }

  [[nodiscard]] std::string index_text() const {
    if (!names_.contains(index_name)) return {};
    const File file = File::open_read(cache_.snapshot(report_.commit) / (prefix_ + index_name));
    std::string text(std::min<uint64_t>(file.size(), uint64_t{64} << 20), '\0');
    text.resize(file.read_at(0, std::as_writable_bytes(std::span(text))));
    return text;
  }

  [[noreturn]] void fail_no_model(const Repository& repository, const std::string& what) const {
    std::vector<std::string> folders = folders_with_weights(repository.files);
    std::erase(folders, name_.subfolder);
    std::string remedy = "name a repository with safetensors files";
    if (!folders.empty()) {
      if (folders.size() > 8) folders.resize(8);
      remedy =
          fmt::format("models lie in {}: try {}:{}", fmt::join(folders, ", "), name_.repository(), folders.front());
    }
    throw Error(ErrorCode::not_found, what, name_.text(), remedy);
  }

  /// These files are then in the snapshot.
  void ensure(const std::vector<std::string>& files) {
    std::vector<RemoteFile> wanted;
    uint64_t needed = 0;
    for (const std::string& file : files) {
      const std::string path = prefix_ + file;
      if (is_here(path)) {
        note(path, 0);
        continue;
      }
      wanted.push_back(api_.file(report_.commit, path));
      reporter_.add_total(static_cast<int64_t>(wanted.back().size.value_or(0)));
      needed += bytes_to_fetch(wanted.back());
    }
    check_space(needed);
    for (const RemoteFile& file : wanted) {
      const int64_t before = reporter_.received();
      downloader_.fetch(file);
      cache_.link(report_.commit, file.path, file.etag);
      note(file.path, reporter_.received() - before);
    }
  }

  void note(const std::string& path, int64_t received) {
    std::error_code error;
    const auto size = fs::file_size(cache_.snapshot(report_.commit) / path, error);
    report_.files.push_back({path, error ? 0 : static_cast<int64_t>(size), received});
  }

  /// Whether the snapshot has the file; with `verify`, also the bytes its name promises.
  bool is_here(const std::string& path) {
    if (!cache_.has(report_.commit, path)) return false;
    const auto etag = cache_.linked_etag(report_.commit, path);
    if (!options_.verify || !etag || hash_kind(*etag) == HashKind::none) return true;
    reporter_.set_file(path);
    reporter_.emit(true);
    if (hash_file(cache_.blob(*etag), hash_kind(*etag)) == *etag) return true;
    reporter_.notice(path + " is damaged in the cache; fetching it again");
    remove_file(cache_.blob(*etag));
    return false;
  }

  /// What of a file still has to find room.
  [[nodiscard]] uint64_t bytes_to_fetch(const RemoteFile& file) const {
    if (!file.size) return 0;
    std::error_code absent;
    if (fs::exists(cache_.blob(file.etag), absent)) return 0;
    struct stat partial = {};
    if (::stat(cache_.partial(file.etag).c_str(), &partial) != 0) return *file.size;
    return *file.size - std::min(*file.size, static_cast<uint64_t>(partial.st_blocks) * 512);
  }

  void check_space(uint64_t needed) const {
    std::error_code error;
    const fs::space_info space = fs::space(cache_.folder(), error);
    if (error || space.available >= needed) return;
    throw Error(
        ErrorCode::io,
        fmt::format("{} have to be downloaded, but only {} are free", human_size(needed), human_size(space.available)),
        cache_.folder().string(), "make room, or set HF_HUB_CACHE to a folder on another disk");
  }

  const HubName& name_;
  const Settings& settings_;
  const PullOptions& options_;
  Parts parts_;
  std::string prefix_;
  RepositoryCache cache_;
  Reporter reporter_;
  const std::thread::id caller_ = std::this_thread::get_id();
  Observer observer_;
  Downloader downloader_;
  HubApi api_;
  std::set<std::string> names_;
  PullReport report_;
};

}  // namespace

PullReport pull(const HubName& name, const Settings& settings, const PullOptions& options) {
  HubName full = name;
  if (full.revision.empty()) full.revision = options.revision.empty() ? "main" : options.revision;
  if (!options.revision.empty() && full.revision != options.revision) {
    throw Error(ErrorCode::invalid_argument, "the revision " + options.revision + " is asked for as well", full.text(),
                "name one");
  }
  if (!is_revision(full.revision)) {
    throw Error(ErrorCode::invalid_argument, "'" + full.revision + "' can't be a revision", full.repository());
  }
  if (options.offline || settings.offline) {
    const CachedModel cached = find_cached(full, settings.cache, options.text_only ? Parts::text : Parts::all);
    if (cached.missing.empty()) return report_cached(full, cached);
    fail_not_cached(full, settings, cached);
  }
  try {
    return Pull(full, settings, options).run();
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::io, error.code().message(), error.path1().string());
  }
}

}  // namespace prosa::hub
