// Routes, and what becomes of a request that has none (router.h).
#include "server/router.h"

#include <fmt/format.h>

#include "server/refusal.h"

namespace prosa::server {
namespace {

/// What people who follow another server's manual mean by a path that is not there.
std::string hint_for(const std::string& path) {
  constexpr std::string_view kVersion = "/v1";
  if (path.starts_with("/v1/api/")) return " Ollama's API has no /v1: ask for " + path.substr(kVersion.size()) + ".";
  if (path.starts_with("/v1/v1/")) return " The base URL ends with /v1 already.";
  return "";
}

}  // namespace

std::string without_last_slash(std::string path) {
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::vector<std::string> Router::paths() const {
  std::vector<std::string> paths;
  for (const auto& [path, route] : routes_) paths.push_back(path);
  return paths;
}

std::string route_of(const std::string& path) {
  std::string route = without_last_slash(path);
  const size_t last = route.rfind('/') + 1;
  if (std::string_view(route).substr(last).starts_with("resp_")) route.replace(last, std::string::npos, "*");
  return route;
}

void Router::find_and_call(const Request& request, const std::shared_ptr<Exchange>& exchange) const {
  const std::string path = without_last_slash(request.path);
  const auto found = routes_.find(route_of(path));
  if (found == routes_.end()) {
    throw Refusal(404, "not_found", fmt::format("There is no {} here.{}", path.substr(0, 200), hint_for(path)));
  }
  const Route& route = found->second;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads && route.get) return route.get(request, exchange);
  if (request.method == "POST" && route.post) return route.post(request, exchange);
  if (request.method == "DELETE" && route.remove) return route.remove(request, exchange);
  const char* wanted = !route.post ? (route.remove ? "GET or DELETE" : "GET") : route.get ? "GET or POST" : "POST";
  throw Refusal(405, "method_not_allowed", fmt::format("{} wants {}.", path, wanted));
}

void Router::route(const Request& request, const std::shared_ptr<Exchange>& exchange) const noexcept {
  try {
    find_and_call(request, exchange);
  } catch (...) {
    refuse(request, *exchange);
  }
}

void Router::refuse(const Request& request, Exchange& exchange) noexcept {
  const Refusal refusal = refusal_under_way();
  try {
    exchange.respond(write_refusal(dialect_of(request.path), refusal, request.id));
  } catch (...) {
    exchange.leave();  // no memory even for that
  }
}

bool Router::knows(const std::string& path) const { return routes_.contains(route_of(path)); }

std::string Router::label_of(const std::string& path) const {
  std::string route = route_of(path);
  return routes_.contains(route) ? route : "other";
}

}  // namespace prosa::server
