// The listening socket and the thread of all connections (listener.h).
#include "server/listener.h"

#include "server/connection.h"
#include "server/tls.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>

#include "prosa/error.h"

namespace prosa::server {
namespace {

namespace asio = boost::asio;
using boost::asio::ip::tcp;

constexpr std::chrono::milliseconds kAgain{100};  // after accept() failed: there may be no descriptors for a moment

}  // namespace

struct Listener::State {
  State(const ListenerOptions& options, Hooks hooks)
      : site{options, std::move(hooks)}, context(1), acceptor(context), again(context) {}

  void open() {
    if (!site.options.tls_certificate.empty()) {
      const TlsOptions tls{site.options.tls_certificate, site.options.tls_key, site.options.head_time,
                           site.options.write_time};
      door = std::make_unique<TlsDoor>(context, tls, [this] {
        const std::lock_guard lock(mutex);
        changed.notify_all();
      });
    }
    boost::system::error_code error;
    const auto address = asio::ip::make_address(site.options.address, error);
    if (error) {
      throw Error(ErrorCode::invalid_argument, fmt::format("\"{}\" is no IP address", site.options.address), "address",
                  "Write 127.0.0.1, 0.0.0.0 or an address of this machine.");
    }
    const tcp::endpoint endpoint(address, site.options.port);
    const auto require = [&](const char* what) {
      if (!error) return;
      throw Error(ErrorCode::io,
                  fmt::format("can't {} {}:{}: {}", what, site.options.address, site.options.port, error.message()),
                  "address", "Choose another port, or end the program that has this one.");
    };
    acceptor.open(endpoint.protocol(), error);
    require("open a socket for");
    acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (address.is_v6()) acceptor.set_option(asio::ip::v6_only(false), error);
    acceptor.bind(endpoint, error);
    require("listen at");
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    require("listen at");
    port = acceptor.local_endpoint().port();
  }

  void accept() {
    acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (!acceptor.is_open()) return;
      if (error) {
        again.expires_after(kAgain);
        again.async_wait([this](boost::system::error_code ended) {
          if (!ended) accept();
        });
        return;
      }
      accept();  // first: what goes wrong with one connection must not end the listening
      take(std::move(socket));
    });
  }

  void take(tcp::socket socket) {
    const bool full = count.load() >= site.options.connections;
    // Not even room for saying so.
    if (std::max(count.load(), relays()) >= 2 * site.options.connections) return;
    if (door) socket = door->enter(std::move(socket));
    const auto connection = std::make_shared<Connection>(std::move(socket), site, [this](Connection* closed) {
      const auto found = connections.find(closed);
      if (found == connections.end()) return;
      // Its own functions are still running.
      asio::post(context, [kept = std::move(found->second)] {});
      connections.erase(found);
      const std::lock_guard lock(mutex);
      count.store(connections.size());
      changed.notify_all();
    });
    connections.emplace(connection.get(), connection);
    count.store(connections.size());
    if (full) return connection->turn_away();
    connection->begin();
  }

  /// Of TLS: they end a little after their connections, when the client has got its last bytes.
  [[nodiscard]] size_t relays() const { return door ? door->open_count() : 0; }

  template <typename Function>
  void for_each(Function function) {
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : connections) all.push_back(connection);
    for (const auto& connection : all) function(*connection);
  }

  /// Whatever a handler threw, the others go on: its connection ends by its deadlines.
  void run() {
    while (true) {
      try {
        context.run();
        return;
      } catch (const std::exception&) {
      }
    }
  }

  Site site;
  asio::io_context context;
  std::unique_ptr<TlsDoor> door;  // null: no TLS
  tcp::acceptor acceptor;
  asio::steady_timer again;
  std::map<Connection*, std::shared_ptr<Connection>> connections;  // of the thread alone
  uint16_t port = 0;
  std::atomic<size_t> count = 0;
  std::mutex mutex;  // for waiting until there are none
  std::condition_variable changed;
  bool deaf = false;  // guarded by mutex: no connection comes any more
  std::thread thread;
};

Listener::Listener(const ListenerOptions& options, Hooks hooks)
    : state_(std::make_unique<State>(options, std::move(hooks))) {
  state_->open();
  state_->accept();
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Listener::~Listener() {
  drain(std::chrono::milliseconds(0));
  state_->context.stop();
  state_->thread.join();
}

uint16_t Listener::port() const noexcept { return state_->port; }
size_t Listener::connections() const noexcept { return state_->count.load(); }

void Listener::drain(std::chrono::milliseconds patience) {
  State& state = *state_;
  asio::post(state.context, [&state] {
    boost::system::error_code ignored;
    state.acceptor.close(ignored);
    state.again.cancel();
    state.site.draining = true;
    state.for_each([](Connection& connection) { connection.drain(); });
    const std::lock_guard lock(state.mutex);
    state.deaf = true;
    state.changed.notify_all();
  });
  const auto none = [&state] { return state.deaf && state.count.load() + state.relays() == 0; };
  std::unique_lock lock(state.mutex);
  if (state.changed.wait_for(lock, patience, none)) return;
  asio::post(state.context, [&state] {
    state.for_each([](Connection& connection) { connection.cut(); });
    if (state.door) state.door->cut();
  });
  state.changed.wait(lock, none);
}

}  // namespace prosa::server
