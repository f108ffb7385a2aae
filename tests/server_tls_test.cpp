// HTTPS: the listener behind TLS, with a certificate that each test makes. No model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <thread>

#include "prosa/error.h"
#include "server/listener.h"
#include "server_client.h"
#include "temp_folder.h"

namespace prosa::server {
namespace {

using namespace std::chrono_literals;

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* pointer) const { Free(pointer); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>>;
using Stream = std::unique_ptr<SSL, Freed<SSL, SSL_free>>;

/// A key and a certificate signed with it, as two files.
void make_certificate(const std::string& certificate_file, const std::string& key_file) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  const unsigned char host[] = "localhost";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  ASSERT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
  std::FILE* file = std::fopen(certificate_file.c_str(), "w");
  ASSERT_EQ(PEM_write_X509(file, certificate.get()), 1);
  std::fclose(file);
  file = std::fopen(key_file.c_str(), "w");
  ASSERT_EQ(PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
  std::fclose(file);
}

/// A client that trusts the server's own certificate and nothing else.
class TlsClient {
 public:
  TlsClient(uint16_t port, const std::string& certificate_file) : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_load_verify_locations(context_.get(), certificate_file.c_str(), nullptr);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    socket_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    stream_.reset(SSL_new(context_.get()));
    SSL_set_fd(stream_.get(), socket_.get());
    connected_ = SSL_connect(stream_.get()) == 1;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  void send(const std::string& text) {
    EXPECT_EQ(SSL_write(stream_.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
  }
  /// Up to the server's end; `proper`: it said that this is the end.
  std::string rest(bool* proper = nullptr) {
    std::string all;
    char bytes[8192];
    int count = 0;
    while ((count = SSL_read(stream_.get(), bytes, sizeof(bytes))) > 0) all.append(bytes, static_cast<size_t>(count));
    if (proper != nullptr) *proper = SSL_get_error(stream_.get(), count) == SSL_ERROR_ZERO_RETURN;
    return all;
  }
  void leave() { socket_.reset(); }

 private:
  Context context_;
  Descriptor socket_;
  Stream stream_;
  bool connected_ = false;
};

class ServerTls : public testing::Test {
 protected:
  void SetUp() override {
    make_certificate(certificate(), key());
    options.tls_certificate = certificate();
    options.tls_key = key();
    options.head_time = 300ms;
    Hooks hooks;
    hooks.admit = [](Request&) { return std::optional<Response>(); };
    hooks.handle = [this](Request request, std::shared_ptr<Exchange> exchange) {
      if (request.path == "/echo") return exchange->respond({.type = "text/plain", .body = request.body});
      worker = std::thread([this, exchange, path = request.path] {
        exchange->open_stream(StreamKind::events);
        exchange->write("data: one\n\n");
        if (path == "/slow") {
          std::this_thread::sleep_for(150ms);
          exchange->write("data: two\n\n");
          return exchange->finish();
        }
        while (!exchange->gone()) std::this_thread::sleep_for(1ms);
        left = true;
      });
    };
    hooks.refuse = [](const Request&, int status, const std::string&) { return Response{.status = status}; };
    hooks.decorate = [](const Request&) { return Headers(); };
    hooks.finished = [](const Finished&) {};
    listener = std::make_unique<Listener>(options, std::move(hooks));
  }
  void TearDown() override {
    listener->drain(0ms);
    if (worker.joinable()) worker.join();
    listener.reset();
  }
  [[nodiscard]] std::string certificate() const { return folder.path() / "certificate.pem"; }
  [[nodiscard]] std::string key() const { return folder.path() / "key.pem"; }
  [[nodiscard]] uint16_t port() const { return listener->port(); }
  static std::string request(const std::string& path, const std::string& body, const std::string& more = {}) {
    return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  TempFolder folder;
  ListenerOptions options;
  std::unique_ptr<Listener> listener;
  std::thread worker;
  std::atomic<bool> left = false;
};

TEST_F(ServerTls, AnswersAsWithoutIt) {
  TlsClient client(port(), certificate());
  ASSERT_TRUE(client.connected());
  // Larger than all buffers between the two, in both directions.
  std::string body;
  for (int i = 0; body.size() < 3'000'000; ++i) body += std::to_string(i) + " ";
  client.send(request("/echo", "first"));
  client.send(request("/echo", body, "Connection: close\r\n"));
  bool proper = false;
  const std::string answers = client.rest(&proper);
  EXPECT_NE(answers.find("\r\n\r\nfirstHTTP/1.1 200 OK\r\n"), std::string::npos);
  EXPECT_TRUE(answers.ends_with("\r\n\r\n" + body));
  EXPECT_TRUE(proper) << "a client can tell the end from a cut";
}

TEST_F(ServerTls, AClientThatGoesAwayEndsItsWork) {
  TlsClient client(port(), certificate());
  client.send(request("/endless", ""));
  for (int i = 0; i < 1000 && !worker.joinable(); ++i) std::this_thread::sleep_for(1ms);
  client.leave();
  worker.join();
  EXPECT_TRUE(left);
}

TEST_F(ServerTls, ADrainBringsTheLastWords) {
  TlsClient client(port(), certificate());
  client.send(request("/slow", ""));
  std::thread drain([this] {
    std::this_thread::sleep_for(30ms);
    listener->drain(10s);
  });
  bool proper = false;
  EXPECT_NE(client.rest(&proper).find("data: two\n\n"), std::string::npos);
  EXPECT_TRUE(proper);
  client.leave();
  drain.join();
}

TEST_F(ServerTls, WhoSpeaksNoTlsIsClosedAndHarmsNobody) {
  EXPECT_EQ(ask(port(), "GET", "/echo").status, 0);
  Client silent(port());
  EXPECT_TRUE(silent.ends()) << "a handshake has a deadline";
  TlsClient stranger(port(), "/dev/null");
  EXPECT_FALSE(stranger.connected());
  TlsClient client(port(), certificate());
  client.send(request("/echo", "fine", "Connection: close\r\n"));
  EXPECT_TRUE(client.rest().ends_with("\r\n\r\nfine"));
}

TEST_F(ServerTls, FilesThatCannotBeUsedAreNamed) {
  const auto where = [](const ListenerOptions& wrong) -> std::string {
    try {
      const Listener refused(wrong, {});
    } catch (const Error& error) {
      return error.where();
    }
    return "nothing";
  };
  ListenerOptions wrong = options;
  wrong.tls_certificate = folder.path() / "missing.pem";
  EXPECT_EQ(where(wrong), "tls_certificate");
  wrong = options;
  wrong.tls_key = certificate();
  EXPECT_EQ(where(wrong), "tls_key");
  make_certificate(folder.path() / "other.pem", folder.path() / "other-key.pem");
  wrong.tls_key = folder.path() / "other-key.pem";
  EXPECT_EQ(where(wrong), "tls_key") << "a key of another certificate";
}

}  // namespace
}  // namespace prosa::server
