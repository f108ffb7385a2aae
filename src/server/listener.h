// The socket side of the server: connections in, requests out to a handler, answers back.
//
// HTTP/1.1 and 1.0 and nothing above it: paths, keys and JSON are the hooks' business. One thread of its own runs all
// connections, so hooks must not wait. No header of Asio or Beast is seen from here. Invariants: everything is bounded
// (connections, bytes of head and body, the time of every wait); one request at a time on a connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/exchange.h"
#include "server/http.h"

namespace prosa::server {

struct ListenerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  size_t connections = 256;
  size_t head_bytes = size_t{16} << 10;
  size_t body_bytes = size_t{16} << 20;
  std::chrono::milliseconds head_time{10'000};   // from a request's first byte to the end of its head
  std::chrono::milliseconds body_time{60'000};   // for the whole body
  std::chrono::milliseconds idle_time{75'000};   // between two requests
  std::chrono::milliseconds write_time{30'000};  // that a client takes nothing
  std::chrono::milliseconds beat{10'000};        // of silence in a stream of events, then a comment
  std::string tls_certificate = {};              // a PEM file; "": no TLS
  std::string tls_key = {};                      // the same
};

/// What is known of a request when its answer has been sent, or its client has gone.
struct Finished {
  const Request& request;
  int status = 0;  // 499: the client went first
  uint64_t bytes = 0;
};

/// All of them run on the listener's thread, but for what handle() passes on.
struct Hooks {
  /// Before the body is read: an answer, if the request is refused. It may fill in Request::domain.
  std::function<std::optional<Response>(Request&)> admit;
  std::function<void(Request, std::shared_ptr<Exchange>)> handle;
  /// The answer to what is no proper request.
  std::function<Response(const Request&, int status, const std::string& message)> refuse;
  /// Headers that every answer to this request gets.
  std::function<Headers(const Request&)> decorate;
  std::function<void(const Finished&)> finished;
};

class Listener {
 public:
  /// Listens from here on. Errors: invalid_argument (the address, the files of TLS), unsupported (TLS), io (it is
  /// taken, or refused).
  Listener(const ListenerOptions& options, Hooks hooks);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  [[nodiscard]] uint16_t port() const noexcept;
  /// Open connections.
  [[nodiscard]] size_t connections() const noexcept;
  /// Takes no connection any more, closes those that wait for a request, and lets requests under way end within
  /// `patience`; then cuts what is left. Returns when there is none.
  void drain(std::chrono::milliseconds patience);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace prosa::server
