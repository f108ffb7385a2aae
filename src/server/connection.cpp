// The states of a connection (connection.h): idle -> head -> body -> answer -> idle, or closing from anywhere.
#include "server/connection.h"

#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>

namespace prosa::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kMaxAhead = size_t{64} << 10;           // bytes of later requests that are taken before their turn
constexpr std::chrono::milliseconds kLingerTime{2'000};  // for a client to read why it was refused
constexpr size_t kMaxId = 128;                           // characters of a request's id

/// A client's id goes into headers and logs, so only what is harmless in both is taken.
bool is_safe_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxId && std::ranges::all_of(id, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
}

Request to_request(const http::request<http::string_body>& message) {
  Request request;
  request.method = std::string(message.method_string());
  const std::string target(message.target());
  const size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string::npos) request.query = target.substr(mark + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  const std::string_view id = request.header("X-Request-Id");
  request.id = is_safe_id(id) ? std::string(id) : "req-" + random_digits(12);
  return request;
}

/// Whether a value may stand in a header: nothing that ends the line.
bool fits_header(std::string_view value) {
  return std::ranges::none_of(value, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// What the parser refuses, and not what the client did not finish.
bool is_malformed(const boost::system::error_code& error) {
  return error && error.category() == http::make_error_code(http::error::bad_method).category() &&
         error != http::error::partial_message && error != http::error::end_of_stream;
}

}  // namespace

Connection::Connection(Socket socket, Site& site, std::function<void(Connection*)> closed)
    : socket_(std::move(socket)),
      site_(site),
      closed_(std::move(closed)),
      deadline_(socket_.get_executor()),
      write_deadline_(socket_.get_executor()),
      beat_(socket_.get_executor()),
      buffer_(site.options.head_bytes + kMaxAhead + kPiece) {
  ErrorCode ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  socket_.non_blocking(true, ignored);
}

void Connection::begin() { await_request(); }

void Connection::turn_away() {
  request_.id = "req-" + random_digits(12);
  refuse(503, "The server has as many connections as it takes.");
}

void Connection::limit(std::chrono::milliseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([self = shared_from_this()](ErrorCode error) {
    // A deadline that was moved, or was not needed any more, may have been on its way here already.
    const bool moved = self->deadline_.expiry() > asio::steady_timer::clock_type::now();
    if (error || moved || self->phase_ == Phase::answer) return;
    // A client that began and did not go on is told; one that only kept the connection is not.
    const bool began = self->phase_ == Phase::body || (self->phase_ == Phase::head && self->buffer_.size() > 0);
    if (!began) return self->close();
    // The read under way goes on into buffer_ otherwise.
    ErrorCode ignored;
    self->socket_.cancel(ignored);
    self->refuse(408, "The request did not arrive in time.");
  });
}

/// Idle until the next request's first byte.
void Connection::await_request() {
  phase_ = Phase::idle;
  if (draining_ || site_.draining) return close();
  if (buffer_.size() > 0) return read_head();
  limit(site_.options.idle_time);
  watch();
}

void Connection::read_head() {
  phase_ = Phase::head;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(site_.options.head_bytes));
  parser_->body_limit(site_.options.body_bytes);
  request_ = {};
  limit(site_.options.head_time);
  http::async_read_header(socket_, buffer_, *parser_,
                          [self = shared_from_this()](ErrorCode error, size_t) { self->on_head(error); });
}

void Connection::on_head(ErrorCode error) {
  if (phase_ != Phase::head) return;
  if (error == http::error::end_of_stream && buffer_.size() == 0) return close();
  const auto& message = parser_->get();
  keep_alive_ = !error && message.keep_alive();
  chunked_ = !error && message.version() >= 11;
  request_ = to_request(message);
  bodyless_ = request_.method == "HEAD";
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return refuse(431, fmt::format("The head of the request has more than {} bytes.", site_.options.head_bytes));
  }
  if (error == http::error::body_limit) {
    return refuse(413, fmt::format("The body of the request has more than {} bytes.", site_.options.body_bytes));
  }
  if (is_malformed(error)) return refuse(400, fmt::format("This is no HTTP request: {}.", error.message()));
  if (error) return close();
  if (auto refusal = site_.hooks.admit(request_)) {
    keep_alive_ = keep_alive_ && parser_->is_done();
    if (!keep_alive_) return answer(std::move(*refusal));
    exchange_ = std::make_shared<Exchange>(request_.id, Exchange::Limits{});
    start_exchange();
    return exchange_->respond(std::move(*refusal));
  }
  read_body();
}

void Connection::read_body() {
  phase_ = Phase::body;
  limit(site_.options.body_time);
  const auto read = [self = shared_from_this()] {
    http::async_read(self->socket_, self->buffer_, *self->parser_,
                     [self](ErrorCode error, size_t) { self->on_body(error); });
  };
  if (!lists(request_.header("Expect"), "100-continue")) return read();
  outgoing_ = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(socket_, asio::buffer(outgoing_), [self = shared_from_this(), read](ErrorCode error, size_t) {
    if (error) return self->close();
    read();
  });
}

void Connection::on_body(ErrorCode error) {
  if (phase_ != Phase::body) return;
  if (error == http::error::body_limit) {
    return refuse(413, fmt::format("The body of the request has more than {} bytes.", site_.options.body_bytes));
  }
  if (is_malformed(error)) return refuse(400, fmt::format("The body is no proper HTTP: {}.", error.message()));
  if (error) return close();
  deadline_.cancel();
  request_.body = std::move(parser_->get().body());
  exchange_ = std::make_shared<Exchange>(request_.id, Exchange::Limits{.patience = site_.options.write_time});
  start_exchange();
  // The body goes with the handler; what is kept is for the report.
  Request handed = request_;
  handed.body = std::move(request_.body);
  request_.body = {};
  site_.hooks.handle(std::move(handed), exchange_);
}

void Connection::start_exchange() {
  phase_ = Phase::answer;
  deadline_.cancel();
  status_ = 0;
  sent_bytes_ = 0;
  const auto executor = socket_.get_executor();
  exchange_->attach([weak = weak_from_this(), executor] {
    asio::post(executor, [weak] {
      if (const auto self = weak.lock()) self->pump();
    });
  });
  watch();
  schedule_beat();
}

void Connection::schedule_beat() {
  beat_.expires_after(site_.options.beat);
  beat_.async_wait([self = shared_from_this()](ErrorCode error) {
    if (error || self->phase_ != Phase::answer) return;
    if (!self->writing_) self->exchange_->beat();
    self->schedule_beat();
  });
}

/// One wait at a time: for the next request while idle, for the client's going away during an answer.
void Connection::watch() {
  if (watching_) return;
  watching_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](ErrorCode error) { self->on_readable(error); });
}

void Connection::on_readable(ErrorCode error) {
  watching_ = false;
  if (error && error != asio::error::operation_aborted) return close();
  if (phase_ == Phase::idle) return read_head();
  if (phase_ == Phase::answer) peek();
}

/// Something came during an answer: the beginning of the next request, or the end of the connection.
void Connection::peek() {
  if (buffer_.size() >= kMaxAhead) return;  // from here on the kernel holds it; a client that goes shows when writing
  ErrorCode error;
  const size_t count = socket_.read_some(buffer_.prepare(scratch_.size()), error);
  if (error == asio::error::would_block) return watch();
  if (error || count == 0) return close();
  buffer_.commit(count);
  watch();
}

std::string Connection::head_text(const Response& response, bool streamed) const {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_of(response.status));
  const auto add = [&text](std::string_view name, std::string_view value) {
    if (fits_header(name) && fits_header(value)) text += fmt::format("{}: {}\r\n", name, value);
  };
  if (!response.type.empty()) add("Content-Type", response.type);
  if (streamed) {
    if (chunked_) add("Transfer-Encoding", "chunked");
  } else if (response.status != 204 && response.status != 304) {  // neither has a body
    add("Content-Length", std::to_string(response.body.size()));
  }
  add("Connection", keep_alive_ ? "keep-alive" : "close");
  add("X-Request-Id", request_.id);
  add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) add(name, value);
  for (const auto& [name, value] : site_.hooks.decorate(request_)) add(name, value);
  return text + "\r\n";
}

/// Sends what the handler has said since.
void Connection::pump() {
  if (phase_ != Phase::answer || writing_) return;
  Exchange::Output output = exchange_->take();
  if (output.empty()) return;
  std::string bytes;
  if (output.head) {
    status_ = output.head->status;
    if (output.streamed && !chunked_) keep_alive_ = false;  // its end is the connection's
    if (draining_ || site_.draining) keep_alive_ = false;
    bytes = head_text(*output.head, output.streamed);
    if (!bodyless_) bytes += output.head->body;
  }
  if (output.streamed && !bodyless_) {
    if (!output.text.empty()) {
      bytes += chunked_ ? fmt::format("{:x}\r\n{}\r\n", output.text.size(), output.text) : output.text;
    }
    if (output.finished && chunked_) bytes += "0\r\n\r\n";
  }
  send(std::move(bytes), output.text.size(), output.finished);
}

/// `part`: how much of a stream it is.
void Connection::send(std::string bytes, size_t part, bool last) {
  writing_ = true;
  outgoing_ = std::move(bytes);
  write_deadline_.expires_after(site_.options.write_time);
  write_deadline_.async_wait([self = shared_from_this()](ErrorCode error) {
    const bool moved = self->write_deadline_.expiry() > asio::steady_timer::clock_type::now();
    if (!error && !moved && self->writing_) self->close();
  });
  asio::async_write(socket_, asio::buffer(outgoing_),
                    [self = shared_from_this(), part, last](ErrorCode error, size_t n) {
                      self->writing_ = false;
                      self->write_deadline_.cancel();
                      self->sent_bytes_ += n;
                      if (self->phase_ != Phase::answer) return;
                      if (error) return self->close();
                      self->exchange_->sent(part);
                      if (last) return self->answered();
                      self->schedule_beat();
                      self->pump();
                    });
}

void Connection::answered() {
  report(status_);
  beat_.cancel();
  exchange_.reset();
  if (!keep_alive_) return linger();
  await_request();
}

void Connection::report(int status) {
  if (status != 0) site_.hooks.finished({request_, status, sent_bytes_});
}

void Connection::refuse(int status, const std::string& message) {
  answer(site_.hooks.refuse(request_, status, message));
}

void Connection::answer(Response response) {
  phase_ = Phase::closing;
  keep_alive_ = false;
  deadline_.cancel();
  outgoing_ = head_text(response, false);
  if (!bodyless_) outgoing_ += response.body;
  limit(site_.options.write_time);
  asio::async_write(socket_, asio::buffer(outgoing_),
                    [self = shared_from_this(), status = response.status](ErrorCode error, size_t n) {
                      self->sent_bytes_ = n;
                      self->report(status);
                      if (error) return self->close();
                      self->linger();
                    });
}

/// A socket that is closed with unread bytes in it is reset, and the client may never see its answer: so they are read
/// and dropped for a moment.
void Connection::linger() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closing;
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  limit(kLingerTime);
  discard();
}

void Connection::discard() {
  socket_.async_read_some(asio::buffer(scratch_), [self = shared_from_this()](ErrorCode error, size_t) {
    if (error || self->phase_ != Phase::closing) return self->close();
    self->discard();
  });
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const bool unanswered = phase_ == Phase::answer;
  phase_ = Phase::closed;
  ErrorCode ignored;
  socket_.close(ignored);
  deadline_.cancel();
  write_deadline_.cancel();
  beat_.cancel();
  if (unanswered) {
    report(499);
    exchange_->leave();
    exchange_.reset();
  }
  closed_(this);
}

void Connection::drain() {
  draining_ = true;
  if (phase_ == Phase::idle) close();
}

void Connection::cut() { close(); }

}  // namespace prosa::server
