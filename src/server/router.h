// From a method and a path to the function that answers.
//
// Knows no dialect but by the form of its refusals. Constant after it was filled.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/exchange.h"
#include "server/http.h"

namespace prosa::server {

/// "/v1/models/" is "/v1/models".
std::string without_last_slash(std::string path);
/// The route of a path: without the last slash, and with "*" for the id of an answer ("/v1/responses/resp_5").
std::string route_of(const std::string& path);

class Router {
 public:
  /// May answer at once, or hand the exchange on; may throw Error and Refusal. On a clerk's thread.
  using Handler = std::function<void(const Request&, const std::shared_ptr<Exchange>&)>;

  void get(const std::string& path, Handler handler) { routes_[path].get = std::move(handler); }
  void post(const std::string& path, Handler handler) { routes_[path].post = std::move(handler); }
  /// DELETE.
  void remove(const std::string& path, Handler handler) { routes_[path].remove = std::move(handler); }
  /// Answers whatever happens: what a handler throws becomes a refusal.
  void route(const Request& request, const std::shared_ptr<Exchange>& exchange) const noexcept;
  [[nodiscard]] std::vector<std::string> paths() const;
  [[nodiscard]] bool knows(const std::string& path) const;
  /// Answers with what a handler threw; inside a handler of exceptions.
  static void refuse(const Request& request, Exchange& exchange) noexcept;
  /// The path as it may stand in metrics: one of those that are known, or "other".
  [[nodiscard]] std::string label_of(const std::string& path) const;

 private:
  struct Route {
    Handler get;
    Handler post;
    Handler remove;
  };
  void find_and_call(const Request& request, const std::shared_ptr<Exchange>& exchange) const;

  std::unordered_map<std::string, Route> routes_;
};

}  // namespace prosa::server
