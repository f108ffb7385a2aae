// Where the hub is, who asks, where its cache lies, and how patient a download is.
//
// Invariant: everything that comes from the environment enters here and nowhere else in hub/ (except libcurl's own
// proxy variables).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace prosa::hub {

struct Settings {
  std::string endpoint = "https://huggingface.co";  // no slash at its end
  std::string token;                                // "": none; sent to the endpoint only
  bool offline = false;                             // nothing in hub/ opens a connection
  std::filesystem::path cache;                      // holds models--owner--name
  int tries = 5;                                    // in a row without progress
  std::chrono::milliseconds first_wait{500};        // doubled with each try
  std::chrono::seconds longest_wait{300};           // that a server may ask for
  std::chrono::seconds stall{30};                   // slower than 1 kB/s for so long: a try has failed
  int connections = 4;                              // for one large file
  uint64_t smallest_piece = uint64_t{4} << 20;      // of a file fetched over several connections
};

/// HF_ENDPOINT, HF_TOKEN (or the file HF_TOKEN_PATH, by default $HF_HOME/token), HF_HUB_OFFLINE, and the cache folder.
/// Errors: invalid_argument (an endpoint or token that can't be one).
Settings settings_from_environment();

/// $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_folder();

}  // namespace prosa::hub
