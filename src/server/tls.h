// TLS in front of connections: a relay between a client's socket and one end of a pair, whose other end is an ordinary
// connection's.
//
// So a connection never knows, and what it does (deadlines, streams, an upgrade) is the same with TLS and without. A
// client that goes away closes the pair, as it would close its socket; a connection that ends closes the client's
// stream properly. Included by the listener alone, as connection.h is; without OpenSSL no_tls.cpp stands in. Everything
// runs on the listener's thread, but for open_count().
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>  // Asio 1.74 uses std::exchange without it

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace prosa::server {

struct TlsOptions {
  std::string certificate = {};  // a PEM file: the server's certificate, and those between it and its root
  std::string key = {};          // a PEM file
  std::chrono::milliseconds handshake_time{10'000};
  std::chrono::milliseconds write_time{30'000};  // that a client takes nothing
};

class TlsDoor {
 public:
  /// `changed` is called whenever a relay has ended. Errors: not_found, invalid_argument (what the files hold),
  /// unsupported (built without TLS).
  TlsDoor(boost::asio::io_context& context, const TlsOptions& options, std::function<void()> changed);
  ~TlsDoor();
  TlsDoor(const TlsDoor&) = delete;
  TlsDoor& operator=(const TlsDoor&) = delete;

  /// The end for a connection. Error(io): there are no descriptors left.
  boost::asio::ip::tcp::socket enter(boost::asio::ip::tcp::socket client);
  /// Relays that have not ended. From any thread.
  [[nodiscard]] size_t open_count() const noexcept;
  /// Ends all of them now.
  void cut();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace prosa::server
