// Redirects and patience.
#include "hub/fetch.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr std::chrono::seconds kMaxAskedWait{1'000'000'000};  // decades: more does not fit into milliseconds

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_worth_a_retry(int status) { return status == 408 || status == 429 || status >= 500; }

/// Two names of one site.
bool is_public_hub(const std::string& origin) {
  return origin == "https://huggingface.co:443" || origin == "https://hf.co:443";
}

bool is_home(const Settings& settings, const std::string& url) {
  const std::string origin = url_origin(url);
  const std::string home = url_origin(settings.endpoint);
  return origin == home || (is_public_hub(origin) && is_public_hub(home));
}

/// Seconds until the hub's quota is new: `RateLimit: "api";r=0;t=55`.
std::optional<std::chrono::seconds> quota_wait(const HttpResponse& response) {
  const std::string text = response.header("ratelimit");
  const size_t at = text.find("t=");
  if (at == std::string::npos) return std::nullopt;
  long seconds = 0;
  const auto read = std::from_chars(text.data() + at + 2, text.data() + text.size(), seconds);
  if (read.ec == std::errc::result_out_of_range && text[at + 2] != '-') return kMaxAskedWait;
  if (read.ec != std::errc() || seconds <= 0) return std::nullopt;
  return std::chrono::seconds(seconds);
}

[[noreturn]] void fail_busy(const HttpResponse& response) {
  auto wait = response.retry_after;
  if (!wait && response.status == 429) wait = quota_wait(response);
  if (wait) wait = std::min(*wait, kMaxAskedWait);
  throw BusyServer(
      fmt::format("the server answers {}{}", response.status, response.status == 429 ? " (too many requests)" : ""),
      wait);
}

}  // namespace

std::string token_for(const Settings& settings, const std::string& url) {
  return is_home(settings, url) ? settings.token : std::string();
}

Answer follow(HttpClient& client, const Settings& settings, HttpRequest request, const BodySink& sink) {
  HttpHeaders seen;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    request.token = token_for(settings, request.url);
    Answer answer{client.perform(request, sink), request.url};
    HttpResponse& response = answer.response;
    if (is_worth_a_retry(response.status)) fail_busy(response);
    const std::string location = is_redirect(response.status) ? response.header("location") : std::string();
    const std::string target = location.empty() ? std::string() : url_join(request.url, location);
    if (!location.empty() && target.empty()) {
      throw TransferFailure("the server redirects to what is no http or https address", false);
    }
    if (request.url.starts_with("https:") && target.starts_with("http:")) {
      throw TransferFailure("the server redirects from https to http", false);
    }
    if (target.empty() || (request.head && !is_home(settings, target))) {
      response.headers.merge(seen);
      return answer;
    }
    for (auto& [name, value] : response.headers) {
      if (name.starts_with("x-")) seen[name] = value;  // of the file; the others are of this answer alone
    }
    request.url = target;
  }
  throw TransferFailure("the server redirects without end", false);
}

Patience::Patience(const Settings& settings, const Observer& observer, std::string what)
    : settings_(settings), observer_(observer), what_(std::move(what)) {}

void Patience::wait(const TransferFailure& failure) {
  using namespace std::chrono;
  const std::string advice = "check the connection (HF_ENDPOINT, https_proxy); what is downloaded is kept";
  if (observer_.stopped && observer_.stopped()) throw Error(ErrorCode::cancelled, "the download was stopped", what_);
  if (!failure.temporary()) throw Error(ErrorCode::network, failure.what(), what_, advice);
  ++failures_;
  milliseconds pause = settings_.first_wait * (1 << std::min(failures_ - 1, 10));
  if (const auto* busy = dynamic_cast<const BusyServer*>(&failure); busy != nullptr && busy->asked_wait()) {
    const seconds asked = *busy->asked_wait();  // compared as it is: in milliseconds it may not fit
    if (asked > settings_.longest_wait) {
      throw Error(ErrorCode::network, fmt::format("{} and asks to wait {} s", failure.what(), asked.count()), what_,
                  "try again later");
    }
    pause = std::max(pause, milliseconds(asked));
  }
  if (failures_ >= settings_.tries) {
    throw Error(ErrorCode::network, fmt::format("{} ({} tries)", failure.what(), failures_), what_, advice);
  }
  if (observer_.notice) {
    observer_.notice(
        fmt::format("{}: {}; trying again in {:.1f} s", what_, failure.what(), duration<double>(pause).count()));
  }
  const auto until = steady_clock::now() + pause;
  while (steady_clock::now() < until) {
    if (observer_.stopped && observer_.stopped()) throw Error(ErrorCode::cancelled, "the download was stopped", what_);
    std::this_thread::sleep_for(std::min<nanoseconds>(milliseconds(50), until - steady_clock::now()));
  }
}

}  // namespace prosa::hub
