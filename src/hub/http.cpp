// HTTP through libcurl's easy interface: HTTP/1.1, because the pieces of a file travel on connections of their own.
#include "hub/http.h"

#include <curl/curl.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <utility>

#include "base/check.h"

namespace prosa::hub {
namespace {

constexpr long kConnectSeconds = 15;
constexpr long kSlowest = 1000;                           // bytes a second
constexpr size_t kMaxHeaderBytes = size_t{256} << 10;     // of one answer
constexpr uint64_t kMaxIgnoredBytes = uint64_t{1} << 20;  // of a body nobody wants, so that the connection lives on

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// Failures that a second try may cure.
bool is_temporary(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_WRITE_ERROR:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_ABORTED_BY_CALLBACK: return false;
    default: return true;
  }
}

struct Free {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(char* text) const { curl_free(text); }
};

struct FreeShare {
  void operator()(CURLSH* share) const { curl_share_cleanup(share); }  // the same type as CURL
};

/// One request under way: what libcurl's callbacks need.
struct Exchange {
  const BodySink& sink;
  const std::function<bool()>& stopped;
  CURL* handle;
  HttpResponse response;
  size_t header_bytes = 0;
  uint64_t ignored_bytes = 0;
  bool enough = false;
  std::exception_ptr thrown;
};

void read_status(Exchange& exchange) {
  long status = 0;
  curl_easy_getinfo(exchange.handle, CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
}

size_t on_header(char* data, size_t, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, count);
  exchange.header_bytes += count;
  if (exchange.header_bytes > kMaxHeaderBytes) return 0;
  if (line.starts_with("HTTP/")) {  // of the answer proper: any before (100 Continue) is forgotten
    exchange.response.headers.clear();
    return count;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return count;
  std::string_view value = line.substr(colon + 1);
  constexpr std::string_view blank = " \t\r\n";
  const size_t begin = value.find_first_not_of(blank);
  value = begin == std::string_view::npos ? "" : value.substr(begin, value.find_last_not_of(blank) - begin + 1);
  exchange.response.headers[lower(std::string(line.substr(0, colon)))] = value;
  return count;
}

size_t on_body(char* data, size_t, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (exchange.response.status == 0) read_status(exchange);
  if (exchange.response.status / 100 != 2) {
    exchange.ignored_bytes += count;
    exchange.enough = exchange.ignored_bytes > kMaxIgnoredBytes;
    return exchange.enough ? 0 : count;
  }
  try {
    exchange.enough = !exchange.sink(exchange.response, std::as_bytes(std::span(data, count)));
  } catch (...) {
    exchange.thrown = std::current_exception();
  }
  return exchange.enough || exchange.thrown ? 0 : count;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& stopped = static_cast<Exchange*>(user)->stopped;
  return stopped && stopped() ? 1 : 0;
}

/// While it lives, writing to a connection that the server has closed raises no SIGPIPE on this thread: the program's
/// own rule for that signal is about its standard output.
class NoBrokenPipe {
 public:
  NoBrokenPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoBrokenPipe() {
    const timespec at_once = {};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoBrokenPipe(const NoBrokenPipe&) = delete;
  NoBrokenPipe& operator=(const NoBrokenPipe&) = delete;

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_;
};

/// Each request has a handle of its own; what requests have in common, open connections first of all, is shared by the
/// client's. Not one handle for all of them: Debian 12's libcurl (7.88) joins a folded line at the very begin of an
/// answer's head to the last header of the answer before, which it has freed.
class CurlClient : public HttpClient {
 public:
  CurlClient(std::chrono::seconds stall, std::function<bool()> stopped) : stall_(stall), stopped_(std::move(stopped)) {
    static std::once_flag once;
    std::call_once(once, [] { PROSA_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
    shared_.reset(curl_share_init());
    PROSA_CHECK(shared_ != nullptr);
    for (const auto data : {CURL_LOCK_DATA_CONNECT, CURL_LOCK_DATA_DNS, CURL_LOCK_DATA_SSL_SESSION}) {
      PROSA_CHECK(curl_share_setopt(shared_.get(), CURLSHOPT_SHARE, data) == CURLSHE_OK);
    }
  }

  HttpResponse perform(const HttpRequest& request, const BodySink& sink) override {
    std::array<char, CURL_ERROR_SIZE> error{};
    const std::unique_ptr<CURL, Free> owner(curl_easy_init());
    PROSA_CHECK(owner != nullptr);
    CURL* const handle = owner.get();
    set_up(handle);
    Exchange exchange{sink, stopped_, handle, {}, 0, 0, false, {}};
    set(handle, CURLOPT_ERRORBUFFER, error.data());
    set(handle, CURLOPT_HEADERDATA, &exchange);
    set(handle, CURLOPT_WRITEDATA, &exchange);
    set(handle, CURLOPT_XFERINFODATA, &exchange);
    set(handle, CURLOPT_URL, request.url.c_str());
    if (request.head) set(handle, CURLOPT_NOBODY, 1L);
    const auto range = request.range
                           ? std::to_string(request.range->begin) + "-" + std::to_string(request.range->end - 1)
                           : std::string();
    if (request.range) set(handle, CURLOPT_RANGE, range.c_str());
    std::unique_ptr<curl_slist, Free> headers(curl_slist_append(nullptr, "Accept-Encoding: identity"));
    const std::string authorization = "Authorization: Bearer " + request.token;
    if (!request.token.empty()) headers.reset(curl_slist_append(headers.release(), authorization.c_str()));
    set(handle, CURLOPT_HTTPHEADER, headers.get());

    const NoBrokenPipe quiet;
    const CURLcode code = curl_easy_perform(handle);
    read_status(exchange);
    if (exchange.thrown) std::rethrow_exception(exchange.thrown);
    if (code != CURLE_OK && !exchange.enough) throw TransferFailure(reason(code, error.data()), is_temporary(code));
    curl_off_t wait = 0;
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &wait);
    if (wait > 0) exchange.response.retry_after = std::chrono::seconds(wait);
    return std::move(exchange.response);
  }

 private:
  template <typename Value>
  static void set(CURL* handle, CURLoption option, Value value) {
    PROSA_CHECK(curl_easy_setopt(handle, option, value) == CURLE_OK);
  }

  /// What is the same for every request.
  void set_up(CURL* handle) const {
    set(handle, CURLOPT_SHARE, shared_.get());
    set(handle, CURLOPT_NOSIGNAL, 1L);  // signals belong to the program
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(handle, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    set(handle, CURLOPT_LOW_SPEED_LIMIT, kSlowest);
    set(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(stall_.count()));
    set(handle, CURLOPT_BUFFERSIZE, 512L << 10);
    set(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    set(handle, CURLOPT_USERAGENT, "prosa");
    set(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(handle, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));  // the token is not for a proxy
    set(handle, CURLOPT_HEADERFUNCTION, on_header);
    set(handle, CURLOPT_WRITEFUNCTION, on_body);
    set(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    set(handle, CURLOPT_NOPROGRESS, 0L);
    for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
      const char* value = std::getenv(name);
      if (value == nullptr || *value == '\0') continue;
      set(handle, CURLOPT_CAINFO, value);
      break;
    }
  }

  static std::string reason(CURLcode code, const char* text) {
    if (code == CURLE_OPERATION_TIMEDOUT && std::string_view(text).starts_with("Operation too slow")) {
      return "the connection has stalled";
    }
    return *text != '\0' ? text : curl_easy_strerror(code);
  }

  std::chrono::seconds stall_;
  std::function<bool()> stopped_;
  std::unique_ptr<CURLSH, FreeShare> shared_;
};

std::string part_of(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  const std::unique_ptr<char, Free> owner(text);
  return text;
}

bool is_web(const std::string& scheme) { return scheme == "http" || scheme == "https"; }

}  // namespace

std::string HttpResponse::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

std::unique_ptr<HttpClient> make_http_client(std::chrono::seconds stall, std::function<bool()> stopped) {
  return std::make_unique<CurlClient>(stall, std::move(stopped));
}

std::string url_origin(const std::string& url) {
  const std::unique_ptr<CURLU, Free> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = lower(part_of(parsed.get(), CURLUPART_SCHEME, 0));
  if (!is_web(scheme)) return {};
  return scheme + "://" + lower(part_of(parsed.get(), CURLUPART_HOST, 0)) + ":" +
         part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string url_join(const std::string& base, const std::string& location) {
  const std::unique_ptr<CURLU, Free> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) return {};
  if (curl_url_set(parsed.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) return {};
  if (!is_web(lower(part_of(parsed.get(), CURLUPART_SCHEME, 0)))) return {};
  return part_of(parsed.get(), CURLUPART_URL, 0);
}

std::string url_quote(std::string_view text, bool keep_slashes) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string quoted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("_.-~").find(c) != std::string_view::npos ||
        (c == '/' && keep_slashes)) {
      quoted += c;
    } else {
      quoted += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return quoted;
}

}  // namespace prosa::hub
