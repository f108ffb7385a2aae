// The bytes of one file, over several connections at once, into a file under way; and their hash as they arrive.
//
// Knows no cache: the caller owns names, lock and what comes after. Invariant: no byte is written outside
// [0, size), and none is asked for twice that the journal has.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "hub/api.h"
#include "hub/file.h"
#include "hub/journal.h"
#include "hub/reporter.h"

namespace prosa::hub {

/// What a transfer works with. All outlive it.
struct TransferTools {
  const Settings& settings;
  const HubName& name;
  const Observer& observer;
  Reporter& reporter;
  std::vector<std::unique_ptr<HttpClient>>& clients;  // one for each connection
  std::atomic<bool>& abandon;                         // set here when one connection fails: the clients look at it
};

/// The server takes no ranges: only the whole file can be had, in one go.
struct NoRanges {};
/// What is on disk can't be a part of the file.
struct WorthlessPartial {
  std::string why;
};

/// Fetches every piece that `journal` lacks. The file's hash, "" for an etag that is none. Progress is reported on this
/// thread. Throws Error (network, access_denied, not_found, io, cancelled), NoRanges, WorthlessPartial; `journal` and
/// `into` then hold what had arrived.
std::string transfer_pieces(const TransferTools& tools, const RemoteFile& file, const File& into, Journal& journal);

/// The whole file from its beginning over one connection; its size need not be known before. The file's hash.
std::string transfer_whole(const TransferTools& tools, const RemoteFile& file, const File& into);

}  // namespace prosa::hub
