// Requests as the hub wants them: redirects followed with the token kept at home, and failures tried again.
//
// Knows no paths of the hub's API. Invariant: the token goes to the endpoint's own host and to no other.
#pragma once

#include <functional>
#include <string>

#include "hub/http.h"
#include "hub/settings.h"

namespace prosa::hub {

/// What a long job asks and tells; both may be called from any of its threads.
struct Observer {
  std::function<bool()> stopped;                        // asked often; true: give up
  std::function<void(const std::string& line)> notice;  // something a person should know
};

/// The token that may be sent to `url`: the settings' own at the endpoint's origin, else "".
std::string token_for(const Settings& settings, const std::string& url);

/// An answer and where it came from, after redirects.
struct Answer {
  HttpResponse response;
  std::string url;
};

/// One try: follows up to 10 redirects. With request.head only those that stay at the endpoint: an answer 3xx to
/// another host is returned, as it holds what the hub says of the file; headers of the answers before are merged in.
/// Throws TransferFailure, also for answers that are worth a second try (408, 429, 5xx).
Answer follow(HttpClient& client, const Settings& settings, HttpRequest request, const BodySink& sink);

/// A server that asks to come back later.
class BusyServer : public TransferFailure {
 public:
  BusyServer(const std::string& what, std::optional<std::chrono::seconds> wait)
      : TransferFailure(what, true), wait_(wait) {}
  [[nodiscard]] std::optional<std::chrono::seconds> asked_wait() const noexcept { return wait_; }

 private:
  std::optional<std::chrono::seconds> wait_;
};

/// How often and how long to wait: doubled each time, or what the server asked for.
class Patience {
 public:
  /// `what`: the job, for messages.
  Patience(const Settings& settings, const Observer& observer, std::string what);

  /// After a failure: waits, or throws. Errors: network (not temporary, or too often), cancelled.
  void wait(const TransferFailure& failure);
  /// Something was achieved: all tries count anew.
  void renew() noexcept { failures_ = 0; }
  /// `once()` until it throws no TransferFailure, or patience ends.
  template <typename Once>
  auto insist(const Once& once) {
    while (true) {
      try {
        return once();
      } catch (const TransferFailure& failure) {
        wait(failure);
      }
    }
  }

 private:
  const Settings& settings_;
  const Observer& observer_;
  std::string what_;
  int failures_ = 0;
};

}  // namespace prosa::hub
