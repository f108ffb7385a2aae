// Relays between TLS and plain bytes (tls.h).
#include "server/tls.h"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "prosa/error.h"

namespace prosa::server {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using Code = boost::system::error_code;

constexpr size_t kRecord = size_t{16} << 10;               // bytes of a TLS record, at most
constexpr std::chrono::milliseconds kFarewellTime{2'000};  // for a client to answer that the stream is over

/// Invariants: at most one read of each side is pending, and one write to each; what was read from a side is written
/// to the other before more is read, so a slow reader holds its writer up and nothing grows. Lives as long as a
/// handler of it is pending.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  using Local = asio::local::stream_protocol::socket;

  Relay(tcp::socket client, Local inner, asio::ssl::context& context, const TlsOptions& options,
        std::function<void(Relay*)> ended)
      : client_(std::move(client), context),
        inner_(std::move(inner)),
        deadline_(inner_.get_executor()),
        options_(options),
        ended_(std::move(ended)) {
    Code ignored;
    client_.lowest_layer().set_option(tcp::no_delay(true), ignored);
    client_.lowest_layer().set_option(asio::socket_base::keep_alive(true), ignored);
  }

  void begin() {
    limit(options_.handshake_time);
    client_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](Code error) {
      if (error) return self->close();
      self->deadline_.cancel();
      self->read_client();
      self->read_inner();
    });
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    Code ignored;
    client_.lowest_layer().close(ignored);
    inner_.close(ignored);
    deadline_.cancel();
    ended_(this);
  }

 private:
  void limit(std::chrono::milliseconds time) {
    deadline_.expires_after(time);
    deadline_.async_wait([self = shared_from_this()](Code error) {
      const bool moved = self->deadline_.expiry() > asio::steady_timer::clock_type::now();
      if (!error && !moved) self->close();
    });
  }

  void read_client() {
    client_.async_read_some(asio::buffer(from_client_), [self = shared_from_this()](Code error, size_t count) {
      if (error) return self->close();  // it has gone; in the farewell that is what is waited for
      asio::async_write(self->inner_, asio::buffer(self->from_client_, count), [self](Code failed, size_t) {
        // The connection reads no more, but its last words may still be on their way to the client.
        if (!failed) self->read_client();
      });
    });
  }

  void read_inner() {
    inner_.async_read_some(asio::buffer(to_client_), [self = shared_from_this()](Code error, size_t count) {
      if (error) return self->farewell();
      self->limit(self->options_.write_time);
      asio::async_write(self->client_, asio::buffer(self->to_client_, count), [self](Code failed, size_t) {
        if (failed) return self->close();
        self->deadline_.cancel();
        self->read_inner();
      });
    });
  }

  /// The connection has said all: so is the client told.
  void farewell() {
    if (closed_) return;
    limit(kFarewellTime);
    client_.async_shutdown([self = shared_from_this()](Code) { self->close(); });
  }

  asio::ssl::stream<tcp::socket> client_;
  Local inner_;
  asio::steady_timer deadline_;  // of the handshake, of a write to the client, of the farewell: never two at once
  const TlsOptions& options_;
  std::function<void(Relay*)> ended_;
  std::array<char, kRecord> from_client_{};
  std::array<char, kRecord> to_client_{};
  bool closed_ = false;
};

[[noreturn]] void fail(const char* field, const std::string& file, const Code& error) {
  throw Error(ErrorCode::invalid_argument, fmt::format("{} can't be used: {}", file, error.message()), field,
              "Name PEM files: a certificate with its chain, and the key that belongs to it.");
}

}  // namespace

struct TlsDoor::State {
  State(asio::io_context& context_of, const TlsOptions& options_of, std::function<void()> changed_of)
      : context(context_of), options(options_of), changed(std::move(changed_of)), tls(asio::ssl::context::tls_server) {
    tls.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                    asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression | SSL_OP_NO_RENEGOTIATION);
    Code error;
    tls.use_certificate_chain_file(options.certificate, error);
    if (error) fail("tls_certificate", options.certificate, error);
    tls.use_private_key_file(options.key, asio::ssl::context::pem, error);
    if (error) fail("tls_key", options.key, error);
  }

  asio::io_context& context;
  const TlsOptions options;
  const std::function<void()> changed;
  asio::ssl::context tls;
  std::map<Relay*, std::weak_ptr<Relay>> relays;
  std::atomic<size_t> open = 0;
};

TlsDoor::TlsDoor(asio::io_context& context, const TlsOptions& options, std::function<void()> changed)
    : state_(std::make_unique<State>(context, options, std::move(changed))) {}

TlsDoor::~TlsDoor() = default;

tcp::socket TlsDoor::enter(tcp::socket client) {
  State& state = *state_;
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    throw Error(ErrorCode::io, "there is no descriptor for a connection", "tls_certificate");
  }
  // Asio's socket of a connection is one of TCP by its type alone: what it is asked for works with any stream.
  tcp::socket outer(state.context, tcp::v4(), pair[0]);
  Relay::Local inner(state.context, asio::local::stream_protocol(), pair[1]);
  const auto relay =
      std::make_shared<Relay>(std::move(client), std::move(inner), state.tls, state.options, [&state](Relay* ended) {
        state.relays.erase(ended);
        state.open.store(state.relays.size());
        state.changed();
      });
  state.relays.emplace(relay.get(), relay);
  state.open.store(state.relays.size());
  relay->begin();
  return outer;
}

size_t TlsDoor::open_count() const noexcept { return state_->open.load(); }

void TlsDoor::cut() {
  std::vector<std::shared_ptr<Relay>> all;
  for (const auto& [key, relay] : state_->relays) all.push_back(relay.lock());
  for (const auto& relay : all) {
    if (relay) relay->close();
  }
}

}  // namespace prosa::server
