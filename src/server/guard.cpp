// Keys, hosts and origins (guard.h).
#include "server/guard.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <unistd.h>

#include "prosa/error.h"

namespace prosa::server {
namespace {

/// "example.org:8080" and "[::1]:8080" without the port.
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool is_address(std::string_view host) {
  std::string text(host);
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  std::array<unsigned char, sizeof(in6_addr)> parsed{};
  return inet_pton(AF_INET, text.c_str(), parsed.data()) == 1 || inet_pton(AF_INET6, text.c_str(), parsed.data()) == 1;
}

bool is_loopback_name(std::string_view host) {
  return same_name(host, "localhost") || host == "127.0.0.1" || host == "[::1]" ||
         (host.size() > 10 && same_name(host.substr(host.size() - 10), ".localhost"));
}

std::string own_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

/// The host of "https://example.org:8080"; "" for what has none ("null").
std::string_view host_of_origin(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string_view{} : origin.substr(scheme + 3);
}

/// Takes as long for every key of the same length, wherever it differs.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

/// What probes and browsers ask before they have a key, and what says nothing about anybody.
bool is_open(const Request& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  return reads && (request.path == "/health" || request.path == "/ready" || request.path == "/" ||
                   request.path == "/openapi.json" || request.path.starts_with("/page/"));
}

/// What a preflight asks for may be repeated to it when it consists of names.
bool is_name_list(std::string_view text) {
  return text.size() <= 1024 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
                  c == ',' || c == ' ';
         });
}

}  // namespace

Guard::Guard(GuardRules rules) : rules_(std::move(rules)) {
  for (const std::string& key : rules_.api_keys) {
    if (key.empty()) throw Error(ErrorCode::invalid_argument, "is empty", "api_keys");
  }
}

bool Guard::allows_host(std::string_view host) const {
  const std::string_view name = without_port(host);
  if (is_address(name) || is_loopback_name(name)) return true;
  const std::string own = own_name();
  if (!own.empty() && (same_name(name, own) || same_name(name, own + ".local"))) return true;
  return std::ranges::any_of(rules_.hosts,
                             [&](const std::string& each) { return each == "*" || same_name(each, name); });
}

bool Guard::allows_origin(const Request& request) const {
  const std::string_view origin = request.header("Origin");
  const std::string_view host = host_of_origin(origin);
  if (!host.empty() && (same_name(host, request.header("Host")) || is_loopback_name(without_port(host)))) return true;
  return std::ranges::any_of(rules_.origins,
                             [&](const std::string& each) { return each == "*" || same_name(each, origin); });
}

size_t Guard::key_of(const Request& request) const {
  std::string_view given = request.header("X-Api-Key");
  const std::string_view authorization = request.header("Authorization");
  constexpr std::string_view kBearer = "bearer ";
  if (authorization.size() > kBearer.size() && same_name(authorization.substr(0, kBearer.size()), kBearer)) {
    given = trimmed(authorization.substr(kBearer.size()));
  }
  size_t found = 0;
  for (size_t i = 0; i < rules_.api_keys.size(); ++i) {
    if (same_secret(given, rules_.api_keys[i])) found = i + 1;
  }
  return found;
}

std::optional<Response> Guard::check(Request& request) const {
  const auto refuse = [&](int status, const char* code, const std::string& message) {
    return write_refusal(dialect_of(request.path), {status, code, message}, request.id);
  };
  const std::string_view host = request.header("Host");
  if (host.empty()) return refuse(400, "invalid_request", "The request has no Host header.");
  const bool knows_key = !rules_.api_keys.empty() && key_of(request) != 0;
  if (!knows_key && !allows_host(host)) {
    return refuse(403, "host_not_allowed",
                  "This server is not asked by that name. Ask by its address, or start it with --allow-host NAME.");
  }
  if (!request.header("Origin").empty() && !allows_origin(request)) {
    return refuse(403, "origin_not_allowed",
                  "Pages of this origin may not ask. Start the server with --allow-origin ORIGIN to let them.");
  }
  if (request.method == "OPTIONS") return Response{.status = 204, .type = ""};
  if (rules_.api_keys.empty() || is_open(request)) return {};
  request.domain = key_of(request);
  if (request.domain != 0) return {};
  return refuse(401, "invalid_api_key", "An API key is needed: Authorization: Bearer KEY, or X-Api-Key: KEY.");
}

Headers Guard::cors(const Request& request) const {
  const std::string_view origin = request.header("Origin");
  if (origin.empty() || !allows_origin(request)) return {};
  Headers headers = {{"Access-Control-Allow-Origin", std::string(origin)},
                     {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"},
                     {"Vary", "Origin"}};
  if (request.method != "OPTIONS") return headers;
  headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
  const std::string_view wanted = request.header("Access-Control-Request-Headers");
  if (!wanted.empty() && is_name_list(wanted))
    headers.emplace_back("Access-Control-Allow-Headers", std::string(wanted));
  headers.emplace_back("Access-Control-Max-Age", "600");
  return headers;
}

}  // namespace prosa::server
