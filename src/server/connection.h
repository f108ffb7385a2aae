// One connection: reads a request, hands it on, sends the answer, and reads the next.
//
// Included by the listener alone: this is where Asio and Beast are. Everything runs on the listener's thread, so there
// are no locks. While an answer is made the socket is watched: a client that goes away ends its work. Invariant: at
// most one read, one write and one watch are pending; the connection lives as long as one of them, or the listener,
// holds it.
#pragma once

#include <array>
#include <utility>  // Asio 1.74 uses std::exchange without it

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "server/listener.h"

namespace prosa::server {

/// What connections need of their listener.
struct Site {
  ListenerOptions options;
  Hooks hooks;
  bool draining = false;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using ErrorCode = boost::system::error_code;

  Connection(Socket socket, Site& site, std::function<void(Connection*)> closed);

  void begin();
  /// Sends this and closes: there is no room.
  void turn_away();
  /// Ends when its request has been answered; at once if there is none.
  void drain();
  /// Ends now.
  void cut();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class Phase { idle, head, body, answer, closing, closed };

  void await_request();
  void read_head();
  void on_head(ErrorCode error);
  void read_body();
  void on_body(ErrorCode error);
  void refuse(int status, const std::string& message);
  void answer(Response response);  // without a handler, and closes
  void start_exchange();
  void watch();
  void on_readable(ErrorCode error);
  void peek();
  void pump();
  void send(std::string bytes, size_t part, bool last);
  void answered();
  void report(int status);
  void linger();
  void discard();
  void close();
  void limit(std::chrono::milliseconds time);
  void schedule_beat();
  [[nodiscard]] std::string head_text(const Response& response, bool streamed) const;

  Socket socket_;
  Site& site_;
  std::function<void(Connection*)> closed_;
  boost::asio::steady_timer deadline_;        // of reading, or of waiting for a request
  boost::asio::steady_timer write_deadline_;  // of the write under way
  boost::asio::steady_timer beat_;
  static constexpr size_t kPiece = 4096;  // bytes that are read at a time, outside of requests
  std::array<char, kPiece> scratch_{};    // for what is dropped
  boost::beast::flat_buffer buffer_;      // what was received and not read yet
  std::optional<Parser> parser_;          // of the request at hand
  Request request_;
  std::shared_ptr<Exchange> exchange_;  // of the answer under way
  std::string outgoing_;                // being written
  Phase phase_ = Phase::idle;
  bool watching_ = false;
  bool writing_ = false;
  bool keep_alive_ = false;
  bool chunked_ = false;
  bool bodyless_ = false;  // the answer to HEAD
  bool draining_ = false;
  int status_ = 0;
  uint64_t sent_bytes_ = 0;
};

}  // namespace prosa::server
