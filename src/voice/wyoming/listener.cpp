// Listening, and a thread for each connection; or the one client at standard input and output.
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>
#include <utility>

#include "base/files.h"
#include "voice/wyoming/service.h"

namespace prosa {
namespace {

using wyoming::Address;
using wyoming::Clock;

constexpr int kBacklog = 16;                           // connections that wait to be accepted
constexpr std::chrono::milliseconds kRefusal{100};     // to tell a client that there is no room
constexpr std::chrono::milliseconds kOutOfFiles{100};  // before the next attempt to accept

[[noreturn]] void cant_listen(const Address& address, const std::string& why) {
  throw Error(ErrorCode::io, "can't listen: " + why, address.text, "choose another address");
}

Descriptor listen_tcp(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) cant_listen(address, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Descriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (!socket || ::bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    cant_listen(address, std::strerror(errno));
  }
  return socket;
}

bool is_standard(std::string_view address) { return address == "stdio:" || address == "stdio://"; }

/// A copy of a standard descriptor, which stays open.
Descriptor standard(int number) {
  Descriptor copy(::fcntl(number, F_DUPFD_CLOEXEC, 3));
  if (!copy) throw_io(number == STDIN_FILENO ? "standard input" : "standard output", "can't use", errno);
  return copy;
}

/// A client that goes away is an error of the write, not the end of the process.
void block_pipe_signal() {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &only, nullptr);
}

/// A name that is left from a listener that died is taken over, one that somebody listens at is not.
Descriptor listen_unix(const Address& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.path.copy(name.sun_path, sizeof name.sun_path - 1);
  const auto* raw = reinterpret_cast<const sockaddr*>(&name);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) cant_listen(address, std::strerror(errno));
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe && ::connect(probe.get(), raw, sizeof name) != 0 && errno == ECONNREFUSED) ::unlink(name.sun_path);
  if (::bind(socket.get(), raw, sizeof name) != 0) cant_listen(address, std::strerror(errno));
  ::chmod(name.sun_path, 0600);  // before anybody can connect
  if (::listen(socket.get(), kBacklog) != 0) cant_listen(address, std::strerror(errno));
  return socket;
}

}  // namespace

struct WyomingListener::State {
  struct Served {
    std::unique_ptr<wyoming::Connection> connection;
    std::atomic<bool> done{false};
    std::jthread thread;
  };

  Address address;
  wyoming::Shared shared;
  wyoming::Wake wake;
  Descriptor socket;
  uint16_t port = 0;
  uint64_t connections = 0;  // so far; of the accepting thread
  std::list<Served> served;  // of the accepting thread
  std::jthread acceptor;     // with stdio: the thread of its client

  State(const std::string& text, WyomingService service, const Limits& limits)
      : shared{.service = std::move(service), .limits = limits} {
    if (is_standard(text)) {
      serve_standard();
      return;
    }
    address = wyoming::parse_address(text);
    if (address.kind == Address::Kind::child) {
      throw Error(ErrorCode::invalid_argument, "nobody can connect to a command", text,
                  "give tcp://HOST:PORT, unix:///PATH, or stdio:// for standard input and output");
    }
    socket = address.kind == Address::Kind::tcp ? listen_tcp(address) : listen_unix(address);
    if (address.kind == Address::Kind::tcp) {
      sockaddr_storage bound{};
      socklen_t length = sizeof bound;
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &length);
      port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                               : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    }
    acceptor = std::jthread([this] { accept_all(); });
  }
  ~State() {
    wake.set();
    acceptor.join();
    served.clear();  // which waits for their threads
    if (!address.path.empty()) ::unlink(address.path.c_str());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void serve_standard() {
    auto connection = std::make_unique<wyoming::Connection>(standard(STDIN_FILENO), standard(STDOUT_FILENO),
                                                            "the client at standard input", wake);
    acceptor = std::jthread([this, connection = std::move(connection)]() mutable {
      block_pipe_signal();
      wyoming::serve(*connection, shared, 1);
      connection.reset();
      if (shared.service.closed) shared.service.closed();
    });
  }

  void accept_all() {
    while (!wake.is_set()) {
      std::array<pollfd, 2> watched{{{socket.get(), POLLIN, 0}, {wake.descriptor(), POLLIN, 0}}};
      ::poll(watched.data(), watched.size(), -1);
      if (wake.is_set()) return;
      Descriptor client(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      served.remove_if([](const Served& each) { return each.done.load(); });
      if (client) {
        start(std::move(client));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        std::this_thread::sleep_for(kOutOfFiles);
      }
    }
  }

  void start(Descriptor client) {
    const int yes = 1;  // fails on a Unix socket, which has no such delay
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    auto connection = std::make_unique<wyoming::Connection>(std::move(client), "a client of " + address.text, wake);
    try {
      if (served.size() >= static_cast<size_t>(shared.limits.connections)) {
        connection->send({.type = "error", .data = {{"text", "too many connections"}, {"code", "busy"}}},
                         Clock::now() + kRefusal);
        return;
      }
      Served& each = served.emplace_back();
      each.connection = std::move(connection);
      each.thread = std::jthread([this, &each, number = ++connections] {
        wyoming::serve(*each.connection, shared, number);
        each.done = true;         // before the client can know: another one may come at once
        each.connection.reset();  // closed now, not when the next client comes
      });
    } catch (const std::exception&) {
      // It was gone before it was told, or there is no thread for it: the connection is closed.
      if (!served.empty() && !served.back().thread.joinable()) served.pop_back();
    }
  }
};

WyomingListener::WyomingListener(const std::string& address, WyomingService service, const Limits& limits)
    : state_(std::make_unique<State>(address, std::move(service), limits)) {}
WyomingListener::~WyomingListener() = default;
uint16_t WyomingListener::port() const noexcept { return state_->port; }

}  // namespace prosa
