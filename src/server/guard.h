// Who may ask: API keys, the names the server is asked by, and the web pages that ask.
//
// Decides by a request's head alone, before its body is read. A page of another site can make a browser send requests
// to the loopback (by rebinding a name of its own to that address, or by a form): so Host and Origin are judged even
// where no key is asked for. Constant after construction.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/http.h"
#include "server/refusal.h"

namespace prosa::server {

struct GuardRules {
  std::vector<std::string> api_keys = {};  // empty: none is asked for
  std::vector<std::string> origins = {};   // of pages that may ask, beside the server's own and those of the loopback
  std::vector<std::string> hosts = {};     // names beside addresses, localhost and this machine's own; "*": any
};

class Guard {
 public:
  /// Error(invalid_argument): an empty key.
  explicit Guard(GuardRules rules);

  /// Fills in Request::domain. Nothing: the request is welcome.
  [[nodiscard]] std::optional<Response> check(Request& request) const;
  /// The headers by which a browser lets a page read the answer.
  [[nodiscard]] Headers cors(const Request& request) const;

 private:
  [[nodiscard]] bool allows_host(std::string_view host) const;
  [[nodiscard]] bool allows_origin(const Request& request) const;
  /// The number of the key, counted from 1; 0: none that is known.
  [[nodiscard]] size_t key_of(const Request& request) const;

  GuardRules rules_;
};

}  // namespace prosa::server
