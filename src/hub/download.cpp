// From a file under way to a blob.
//
// A file under way is not a temporary of base/atomic_file.h: it has to outlive the process, so that the next one goes
// on with it, and it needs a name that can be found again. FileLock keeps others away from it instead. Like there, it
// is on disk before it takes its final name.
#include "hub/download.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "hub/hash.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPieceBytes = uint64_t{64} << 20;
constexpr uint64_t kPiecesWanted = 64;  // few enough requests, and a short rest to hash when the last byte is there

std::optional<uint64_t> size_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? std::nullopt : std::optional<uint64_t>(size);
}

/// What an earlier huggingface_hub left is the beginning of the file: it is carried on under our name.
void adopt_python_partial(const RepositoryCache& cache, const RemoteFile& file) {
  const fs::path theirs = cache.python_partial(file.etag);
  if (fs::is_symlink(theirs) || !size_of(theirs) || size_of(cache.partial(file.etag))) return;
  const uint64_t held = *size_of(theirs);
  if (held == 0 || held > *file.size) return remove_file(theirs);
  remove_file(cache.journal(file.etag));
  rename_file(theirs, cache.partial(file.etag));
  Journal(cache.journal(file.etag), *file.size, kMaxPieceBytes, held).adopt_prefix(held);
}

}  // namespace

Downloader::Downloader(const Settings& settings, const HubName& name, const RepositoryCache& cache,
                       const Observer& observer, Reporter& reporter)
    : settings_(settings), name_(name), cache_(cache), observer_(observer), reporter_(reporter) {
  for (int i = 0; i < std::max(1, settings.connections); ++i) {
    clients_.push_back(make_http_client(settings.stall, [this] { return abandon_ || observer_.stopped(); }));
  }
}

void Downloader::fetch(const RemoteFile& file) {
  reporter_.set_file(file.path);
  reporter_.emit(true);
  bool told = false;
  const FileLock lock = FileLock::acquire(cache_.lock(file.etag), [&] {
    if (observer_.stopped()) throw Error(ErrorCode::cancelled, "the download was stopped", file.path);
    if (!told) reporter_.notice("waiting for another process that fetches " + file.path);
    told = true;
    reporter_.emit();
  });
  const fs::path blob = cache_.blob(file.etag);
  if (const auto size = size_of(blob); size && (!file.size || *size == *file.size)) {
    return reporter_.add_found(static_cast<int64_t>(*size));
  }
  fetch_locked(file);
  reporter_.emit(true);
}

void Downloader::fetch_locked(const RemoteFile& file) {
  const fs::path partial = cache_.partial(file.etag);
  const fs::path journal = cache_.journal(file.etag);
  if (file.size) adopt_python_partial(cache_, file);
  const int64_t done_before = reporter_.done();
  while (true) {
    bool resumed = false;
    std::string why;
    try {
      const File into = File::open_write(partial);
      const std::string hash = receive(file, into, resumed);
      if (hash.empty() || hash == file.etag) {
        into.sync();
        break;
      }
      why = fmt::format("has the hash {} instead of {}", hash, file.etag);
    } catch (const WorthlessPartial& worthless) {
      why = worthless.why;
    }
    reporter_.rewind(done_before);
    remove_file(journal);
    remove_file(partial);
    if (!resumed) {
      throw Error(ErrorCode::network, "what came " + why + "; it was discarded", name_.repository() + "/" + file.path,
                  "try again; if it stays so, the file is damaged on the server or on the way");
    }
    // The part an earlier run left may be to blame, after a power cut for one: once more without it.
    reporter_.notice(fmt::format("{}: what was there before {}; fetching it again", file.path, why));
  }
  rename_file(partial, cache_.blob(file.etag));
  remove_file(journal);
}

/// The hash of what is then in `into`. `resumed`: a part of it was there before.
std::string Downloader::receive(const RemoteFile& file, const File& into, bool& resumed) {
  const TransferTools tools{settings_, name_, observer_, reporter_, clients_, abandon_};
  if (!file.size) return transfer_whole(tools, file, into);
  const uint64_t piece = std::clamp(*file.size / kPiecesWanted, settings_.smallest_piece, kMaxPieceBytes);
  Journal journal(cache_.journal(file.etag), *file.size, piece, into.size());
  const int64_t done_before = reporter_.done();
  reporter_.add_found(static_cast<int64_t>(journal.total_done()));
  resumed = journal.total_done() > 0;
  if (into.size() > *file.size) into.resize(*file.size);
  try {
    return transfer_pieces(tools, file, into, journal);
  } catch (const NoRanges&) {
    reporter_.notice(file.path + ": the server takes no ranges; fetching it in one go");
    reporter_.rewind(done_before);
    journal.clear();
    resumed = false;
    return transfer_whole(tools, file, into);
  }
}

}  // namespace prosa::hub
