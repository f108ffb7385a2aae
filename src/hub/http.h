// One HTTP request and its answer: the only door of prosa to the network.
//
// Knows nothing of hubs: follows no redirect, tries nothing twice, and decides nothing by status. Invariant: an object
// serves one thread at a time; it keeps its connections open for the next request.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace prosa::hub {

/// Bytes [begin, end) of a file.
struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct HttpRequest {
  std::string url;
  bool head = false;                    // HEAD instead of GET
  std::string token = {};               // Authorization: Bearer; "": none
  std::optional<ByteRange> range = {};  // asks for these bytes; the server may not care
};

/// By name in lower case; of a name that stands twice the last.
using HttpHeaders = std::map<std::string, std::string, std::less<>>;

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  std::optional<std::chrono::seconds> retry_after;
  [[nodiscard]] std::string header(std::string_view name) const;  // "" when it is not there
};

/// No whole answer came. `temporary`: it may come when asked again.
class TransferFailure : public std::runtime_error {
 public:
  TransferFailure(const std::string& what, bool temporary) : std::runtime_error(what), temporary_(temporary) {}
  [[nodiscard]] bool temporary() const noexcept { return temporary_; }

 private:
  bool temporary_;
};

/// Gets a body of a 2xx answer as it comes, each time with the answer's head. false: enough, the request ends there.
using BodySink = std::function<bool(const HttpResponse& head, std::span<const std::byte> bytes)>;

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  /// The answer's head, after all of its body went to `sink`. Bodies of other answers than 2xx are dropped.
  /// Throws TransferFailure, and what `sink` throws.
  virtual HttpResponse perform(const HttpRequest& request, const BodySink& sink) = 0;
};

/// `stall`: slower than 1 kB/s for so long ends a request. `stopped` is asked a few times a second, on the thread that
/// performs; true ends the request (TransferFailure, not temporary).
std::unique_ptr<HttpClient> make_http_client(std::chrono::seconds stall, std::function<bool()> stopped);

/// scheme://host:port in lower case, the port always named; "" for what is neither http nor https.
std::string url_origin(const std::string& url);
/// `location` as seen from `base`; "" when it is no http or https address.
std::string url_join(const std::string& base, const std::string& location);
/// Percent-encoded, slashes too unless `keep_slashes`.
std::string url_quote(std::string_view text, bool keep_slashes);

}  // namespace prosa::hub
