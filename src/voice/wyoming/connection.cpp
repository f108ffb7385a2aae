// Connecting, and waiting in poll().
#include "voice/wyoming/connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "prosa/error.h"

namespace prosa::wyoming {
namespace {

constexpr size_t kMaxUnread = size_t{8} << 20;  // bytes that a peer may send ahead of what is asked of it
constexpr size_t kReadBlock = size_t{64} << 10;

std::string system_text(int error) { return std::strerror(error); }

int milliseconds_to(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

/// false: the deadline is over.
bool wait_for(int descriptor, short events, const Wake& wake, Clock::time_point deadline) {
  while (true) {
    std::array<pollfd, 2> watched{{{descriptor, events, 0}, {wake.descriptor(), POLLIN, 0}}};
    const int count = ::poll(watched.data(), watched.size(), milliseconds_to(deadline));
    if (count < 0 && errno != EINTR) throw_io("poll", "can't wait", errno);
    if (wake.is_set()) throw Error(ErrorCode::cancelled, "the call was cancelled");
    if (count > 0) return true;
    if (Clock::now() >= deadline) return false;
  }
}

[[noreturn]] void unreachable(const Address& address, const std::string& why) {
  throw Error(ErrorCode::io, "can't be reached: " + why, address.text, "start the program, or give another address");
}

/// Connects without blocking; returns the errno of a failure.
int try_connect(const Descriptor& socket, const sockaddr* to, socklen_t length, const Wake& wake,
                Clock::time_point deadline) {
  if (::connect(socket.get(), to, length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(socket.get(), POLLOUT, wake, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

Descriptor connect_tcp(const Address& address, const Wake& wake, Clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) unreachable(address, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  int failure = ENOENT;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Descriptor socket(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    failure = socket ? try_connect(socket, each->ai_addr, each->ai_addrlen, wake, deadline) : errno;
    if (failure != 0) continue;
    const int yes = 1;  // sound goes out in small pieces
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return socket;
  }
  unreachable(address, system_text(failure));
}

Descriptor connect_unix(const Address& address, const Wake& wake, Clock::time_point deadline) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.path.copy(name.sun_path, sizeof name.sun_path - 1);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) unreachable(address, system_text(errno));
  const int failure = try_connect(socket, reinterpret_cast<const sockaddr*>(&name), sizeof name, wake, deadline);
  if (failure != 0) unreachable(address, system_text(failure));
  return socket;
}

}  // namespace

Wake::Wake() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw_io("eventfd", "can't make", errno);
}
void Wake::set() noexcept { ::eventfd_write(event_.get(), 1); }
void Wake::clear() noexcept {
  eventfd_t ignored = 0;
  ::eventfd_read(event_.get(), &ignored);
}
bool Wake::is_set() const noexcept {
  pollfd watched{event_.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) > 0;
}

std::unique_ptr<Connection> Connection::open(const Address& address, const Wake& wake, Clock::time_point deadline) {
  switch (address.kind) {
    case Address::Kind::tcp:
      return std::make_unique<Connection>(connect_tcp(address, wake, deadline), address.text, wake);
    case Address::Kind::unix_socket:
      return std::make_unique<Connection>(connect_unix(address, wake, deadline), address.text, wake);
    case Address::Kind::child: break;
  }
  return std::unique_ptr<Connection>(new Connection(std::make_unique<Child>(address.words), address.text, wake));
}

Connection::Connection(Descriptor socket, std::string peer, const Wake& wake)
    : peer_(std::move(peer)), wake_(wake), socket_(std::move(socket)), in_(socket_.get()), out_(in_), reader_(peer_) {}

Connection::Connection(std::unique_ptr<Child> child, std::string peer, const Wake& wake)
    : peer_(std::move(peer)),
      wake_(wake),
      child_(std::move(child)),
      in_(child_->output()),
      out_(child_->input()),
      reader_(peer_) {}

Connection::Connection(Descriptor in, Descriptor out, std::string peer, const Wake& wake)
    : peer_(std::move(peer)),
      wake_(wake),
      socket_(std::move(in)),
      second_(std::move(out)),
      flags_(::fcntl(socket_.get(), F_GETFL)),
      second_flags_(::fcntl(second_.get(), F_GETFL)),
      in_(socket_.get()),
      out_(second_.get()),
      reader_(peer_) {
  ::fcntl(in_, F_SETFL, flags_ | O_NONBLOCK);
  ::fcntl(out_, F_SETFL, second_flags_ | O_NONBLOCK);
}

Connection::~Connection() {
  if (flags_ >= 0) ::fcntl(in_, F_SETFL, flags_);
  if (second_flags_ >= 0) ::fcntl(out_, F_SETFL, second_flags_);
}

void Connection::abandon() noexcept {
  if (child_) child_->kill();
}

void Connection::fail(const std::string& what) const { throw Error(ErrorCode::io, what, peer_); }

void Connection::fail_ended() {
  throw PeerEnded(child_ ? "the program is gone: " + child_->last_words() : "the peer closed the connection", peer_);
}

bool Connection::fill() {
  bool something = false;
  std::array<char, kReadBlock> block;
  while (!closed_ && reader_.pending() < kMaxUnread) {
    const ssize_t count = ::read(in_, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count <= 0)
      closed_ = true;  // a reset is an end like any other
    else
      reader_.push({block.data(), static_cast<size_t>(count)});
    something = true;
  }
  return something;
}

/// Until the peer sent something, or (both) takes something.
void Connection::wait(Wanted wanted, Clock::time_point deadline, const char* what_for) {
  while (true) {
    // A negative number is not watched: of a peer that sends more than anybody asked for, nothing more is read.
    const bool reading = !closed_ && reader_.pending() < kMaxUnread;
    std::array<pollfd, 4> watched{{{reading ? in_ : -1, POLLIN, 0},
                                   {wanted == Wanted::both ? out_ : -1, POLLOUT, 0},
                                   {child_ ? child_->errors() : -1, POLLIN, 0},
                                   {wake_.descriptor(), POLLIN, 0}}};
    const int count = ::poll(watched.data(), watched.size(), milliseconds_to(deadline));
    if (count < 0 && errno != EINTR) throw_io("poll", "can't wait", errno);
    if (wake_.is_set()) throw Error(ErrorCode::cancelled, "the call was cancelled", peer_);
    if (count > 0 && watched[2].revents != 0 && !child_->drain_errors() && watched[0].revents == 0 &&
        watched[1].revents == 0) {
      // It closed its standard error and goes on: polled again, that would never wait.
      std::array<pollfd, 2> rest{watched[0], watched[1]};
      ::poll(rest.data(), rest.size(), std::min(milliseconds_to(deadline), 5));
      watched[0].revents = rest[0].revents;
      watched[1].revents = rest[1].revents;
    }
    if (count > 0 && (watched[0].revents != 0 || watched[1].revents != 0)) return;
    if (Clock::now() >= deadline) fail(what_for);
  }
}

void Connection::wait_readable(Clock::time_point deadline) {
  wait(Wanted::reading, deadline, "hangs: it gave no answer in time");
}

void Connection::send(const Event& event, Clock::time_point deadline) {
  const std::string bytes = encode(event);
  if (wake_.is_set()) throw Error(ErrorCode::cancelled, "the call was cancelled", peer_);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t count = second_ ? ::write(out_, bytes.data() + at, bytes.size() - at)
                                  : ::send(out_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (count > 0) {
      at += static_cast<size_t>(count);
    } else if (count < 0 && errno == EAGAIN) {
      wait(Wanted::both, deadline, "hangs: it takes nothing more");
      fill();
    } else if (errno != EINTR) {
      fill();  // the reason may be in it
      fail_ended();
    }
  }
}

std::optional<Event> Connection::poll() {
  if (wake_.is_set()) throw Error(ErrorCode::cancelled, "the call was cancelled", peer_);
  if (child_) child_->drain_errors();
  if (auto event = reader_.next()) return event;
  return fill() ? reader_.next() : std::nullopt;
}

bool Connection::ended() {
  fill();
  return closed_;
}

bool Connection::gone() {
  if (!second_) return ended();
  pollfd watched{out_, 0, 0};
  return ::poll(&watched, 1, 0) > 0;  // only an error or a closed end is told unasked
}

std::optional<Event> Connection::receive(Clock::time_point deadline, Clock::duration whole) {
  bool begun = false;
  while (true) {
    if (auto event = poll()) return event;
    if (closed_ && !reader_.begun()) return std::nullopt;
    if (closed_) fail_ended();  // in the middle of an event
    if (reader_.begun() && !std::exchange(begun, true)) deadline = std::min(deadline, Clock::now() + whole);
    wait_readable(deadline);
  }
}

}  // namespace prosa::wyoming
