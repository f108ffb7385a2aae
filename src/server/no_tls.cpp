// What stands for tls.cpp where prosa is built without OpenSSL: it says what is missing.
#include "server/tls.h"

#include "prosa/error.h"

namespace prosa::server {

struct TlsDoor::State {};

TlsDoor::TlsDoor(boost::asio::io_context& /*context*/, const TlsOptions& /*options*/,
                 std::function<void()> /*changed*/) {
  throw Error(ErrorCode::unsupported, "this prosa was built without TLS", "tls_certificate",
              "Build it with OpenSSL (libssl-dev), or put a proxy that speaks TLS in front.");
}

TlsDoor::~TlsDoor() = default;

boost::asio::ip::tcp::socket TlsDoor::enter(boost::asio::ip::tcp::socket client) { return client; }
size_t TlsDoor::open_count() const noexcept { return 0; }
void TlsDoor::cut() {}

}  // namespace prosa::server
