// A request and an answer as plain values.
//
// No socket and no library's types: what the dialects and the tests see of HTTP. Names of headers are compared without
// case, as HTTP wants it. Pure values.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prosa::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;      // "GET"
  std::string path;        // of the target, up to the "?"; percent signs are left as they are
  std::string query = {};  // behind it
  Headers headers = {};    // in the order of the request
  std::string body = {};
  std::string id = {};  // of this request: the client's X-Request-Id where it is a safe one, else a new one
  size_t domain = 0;    // whose conversations it may meet: the number of its API key, or 0
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  /// "" where there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

struct Response {
  int status = 200;
  std::string type = "application/json";  // "": no body is meant
  std::string body = {};
  Headers headers = {};
};

/// "Too Many Requests".
std::string_view reason_of(int status) noexcept;
/// ASCII letters without case.
bool same_name(std::string_view a, std::string_view b) noexcept;
/// Without spaces and tabs at both ends.
std::string_view trimmed(std::string_view text) noexcept;
/// Whether a header that lists things by commas has this one.
bool lists(std::string_view header, std::string_view item) noexcept;

/// `bytes` random bytes in hexadecimal digits: what ids are made of. Error(io).
std::string random_digits(size_t bytes);

}  // namespace prosa::server
