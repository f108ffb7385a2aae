// The socket side of the server with a handler that says what it got: framing, limits, clients that misbehave, and the
// order in which things end. No model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "prosa/error.h"
#include "server/listener.h"
#include "server_client.h"

namespace prosa::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

class ServerHttp : public testing::Test {
 protected:
  void SetUp() override {
    options.body_bytes = 2000;
    options.head_bytes = 1024;
    options.head_time = 300ms;
    options.body_time = 300ms;
    options.idle_time = 10s;
    options.beat = 20ms;
  }
  void TearDown() override {
    if (listener) listener->drain(0ms);
    for (std::thread& thread : threads) thread.join();
    listener.reset();
  }

  /// /echo answers at once; /stream says three parts; /silent opens a stream and says nothing until the client leaves.
  void listen() {
    Hooks hooks;
    hooks.admit = [](Request& request) -> std::optional<Response> {
      if (request.path == "/refused") return Response{.status = 403, .body = "no"};
      return {};
    };
    hooks.handle = [this](Request request, std::shared_ptr<Exchange> exchange) { handle(request, exchange); };
    hooks.refuse = [](const Request&, int status, const std::string& message) {
      return Response{.status = status, .type = "text/plain", .body = message};
    };
    hooks.decorate = [](const Request&) { return Headers{{"X-Decorated", "yes"}}; };
    hooks.finished = [this](const Finished& finished) {
      const std::lock_guard lock(mutex);
      statuses.push_back(finished.status);
    };
    listener = std::make_unique<Listener>(options, std::move(hooks));
  }

  void handle(const Request& request, const std::shared_ptr<Exchange>& exchange) {
    if (request.path == "/echo") {
      return exchange->respond(
          {.type = "text/plain", .body = request.method + " " + request.query + " " + request.body});
    }
    threads.emplace_back([this, exchange, path = request.path] {
      exchange->open_stream(path == "/lines" ? StreamKind::lines : StreamKind::events);
      if (path == "/stream" || path == "/lines") {
        for (const char* part : {"one ", "two ", "three"}) exchange->write(part);
        return exchange->finish();
      }
      if (path == "/flood") {
        const std::string much(100'000, 'x');
        while (exchange->write(much)) {
        }
      }
      exchange->on_gone([this] { notices += 1; });
      while (!exchange->gone()) std::this_thread::sleep_for(1ms);
      left += 1;
    });
  }

  [[nodiscard]] uint16_t port() const { return listener->port(); }
  template <typename Condition>
  static bool soon(Condition condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }

  ListenerOptions options;
  std::unique_ptr<Listener> listener;
  std::vector<std::thread> threads;
  std::atomic<int> left = 0;
  std::atomic<int> notices = 0;
  std::mutex mutex;
  std::vector<int> statuses;
};

TEST_F(ServerHttp, AnswersRequestAfterRequestOnOneConnection) {
  listen();
  Client client(port());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = client.ask("POST", fmt::format("/echo?{}", i), "body");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, fmt::format("POST {} body", i));
    EXPECT_EQ(answer.header("X-Decorated"), "yes");
    EXPECT_EQ(answer.header("Connection"), "keep-alive");
  }
  const Answer head = client.ask("HEAD", "/echo");
  EXPECT_EQ(head.header("Content-Length"), "6");
  EXPECT_EQ(client.ask("GET", "/echo").body, "GET  ") << "nothing of the answer to HEAD was left over";
}

TEST_F(ServerHttp, TakesPipelinedRequestsInOrder) {
  listen();
  Client client(port());
  client.send(
      "GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /echo?2 HTTP/1.1\r\nHost: a\r\n\r\n"
      "GET /echo?3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.answer().body, "one two three");
  EXPECT_EQ(client.answer().body, "GET 2 ");
  const Answer last = client.answer();
  EXPECT_EQ(last.body, "GET 3 ");
  EXPECT_EQ(last.header("Connection"), "close");
  EXPECT_TRUE(client.ends());
}

TEST_F(ServerHttp, StreamsInChunksAndToOldClientsWithout) {
  listen();
  const Answer chunked = ask(port(), "GET", "/stream");
  EXPECT_EQ(chunked.header("Content-Type"), "text/event-stream");
  EXPECT_EQ(chunked.header("Transfer-Encoding"), "chunked");
  EXPECT_EQ(chunked.body, "one two three");
  EXPECT_EQ(ask(port(), "GET", "/lines").header("Content-Type"), "application/x-ndjson");
  Client old(port());
  old.send("GET /stream HTTP/1.0\r\nHost: a\r\n\r\n");
  const Answer plain = old.answer();
  EXPECT_EQ(plain.header("Transfer-Encoding"), "");
  EXPECT_EQ(plain.body, "one two three");
}

TEST_F(ServerHttp, ChunkedBodiesAndExpectedOnes) {
  listen();
  Client client(port());
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(client.wait_for("HTTP/1.1 100 Continue\r\n\r\n"));
  Client other(port());
  other.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(other.answer().body, "POST  abcde");
}

TEST_F(ServerHttp, WhatIsTooLargeIsRefusedWithItsStatus) {
  listen();
  EXPECT_EQ(ask(port(), "GET", "/echo", "", "X: " + std::string(2000, 'x') + "\r\n").status, 431);
  EXPECT_EQ(ask(port(), "POST", "/echo", std::string(2001, 'x')).status, 413);
  EXPECT_EQ(ask(port(), "POST", "/echo", std::string(2000, 'x')).status, 200);
  Client huge(port());
  huge.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + std::string(100'000, 'x'));
  EXPECT_EQ(huge.answer().status, 413) << "said before the body has come";
  Client chunks(port());
  chunks.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n" + std::string(1500, 'x') +
              "\r\n5dc\r\n" + std::string(1500, 'x') + "\r\n0\r\n\r\n");
  EXPECT_EQ(chunks.answer().status, 413);
}

TEST_F(ServerHttp, WhatIsNoHttpIsRefused) {
  listen();
  for (const char* bytes :
       {"\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n", "GET /echo HTTP/9.9\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    Client client(port());
    client.send(bytes);
    const Answer answer = client.answer();
    EXPECT_THAT(answer.status, testing::AnyOf(400, 408)) << bytes;
    EXPECT_TRUE(client.ends());
  }
  Client bad_chunk(port());
  bad_chunk.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_EQ(bad_chunk.answer().status, 400);
}

TEST_F(ServerHttp, SlowAndHalfRequestsEnd) {
  listen();
  Client head(port());
  head.send("GET /echo HTTP/1.1\r\nHo");
  EXPECT_EQ(head.answer().status, 408);
  Client body(port());
  body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(body.answer().status, 408);
  Client trickle(port());  // each byte comes in time, all of them together do not
  bool taken = true;
  for (int i = 0; i < 60 && taken; ++i) {
    taken = trickle.send(i == 0 ? "GET /echo HTTP/1.1\r\nX: " : "x");
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(trickle.answer().status, 408);
  Client gone(port());
  gone.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  gone.leave();
  EXPECT_TRUE(soon([this] { return listener->connections() == 0; }));
}

TEST_F(ServerHttp, AClientThatGoesIsNoticedAtOnce) {
  options.write_time = 200ms;
  listen();
  Client client(port());
  client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.wait_for(": still here\n\n")) << "silence is shown to be alive";
  EXPECT_TRUE(client.wait_for(": still here\n\n\r\n"));
  EXPECT_EQ(left, 0);
  client.leave();
  EXPECT_TRUE(soon([this] { return left == 1; }));
  EXPECT_EQ(notices, 1);
  Client flooded(port());  // takes nothing of what it asked for
  flooded.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(soon([this] { return left == 2; }));
  EXPECT_TRUE(soon([this] { return listener->connections() == 0; }));
  const std::lock_guard lock(mutex);
  EXPECT_EQ(statuses, (std::vector{499, 499}));
}

TEST_F(ServerHttp, OnlySafeIdsOfClientsAreRepeated) {
  listen();
  EXPECT_EQ(ask(port(), "GET", "/echo", "", "X-Request-Id: abc-1.2\r\n").header("X-Request-Id"), "abc-1.2");
  EXPECT_THAT(ask(port(), "GET", "/echo", "", "X-Request-Id: a\"b\r\n").header("X-Request-Id"), StartsWith("req-"));
  EXPECT_THAT(ask(port(), "GET", "/echo", "", "X-Request-Id: " + std::string(200, 'a') + "\r\n").header("X-Request-Id"),
              StartsWith("req-"));
}

TEST_F(ServerHttp, RefusesBeforeTheBodyComes) {
  listen();
  Client client(port());
  client.send("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.header("Connection"), "close");
  Client bodyless(port());
  EXPECT_EQ(bodyless.ask("GET", "/refused").status, 403);
  EXPECT_EQ(bodyless.ask("GET", "/echo").status, 200) << "the connection goes on";
}

TEST_F(ServerHttp, MoreConnectionsThanAllowedAreToldSo) {
  options.connections = 2;
  listen();
  Client one(port());
  Client two(port());
  EXPECT_EQ(one.ask("GET", "/echo").status, 200);
  EXPECT_EQ(two.ask("GET", "/echo").status, 200);
  Client three(port());
  const Answer refused = three.answer();
  EXPECT_EQ(refused.status, 503);
  one.leave();
  EXPECT_TRUE(soon([this] { return ask(port(), "GET", "/echo").status == 200; }));
}

TEST_F(ServerHttp, DrainingLetsRequestsEnd) {
  listen();
  Client idle(port());
  EXPECT_EQ(idle.ask("GET", "/echo").status, 200);
  Client busy(port());
  busy.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(busy.wait_for("still here"));
  const auto begin = std::chrono::steady_clock::now();
  listener->drain(200ms);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, 150ms) << "the busy one was waited for";
  EXPECT_TRUE(idle.ends());
  EXPECT_TRUE(soon([this] { return left == 1; }));
  EXPECT_FALSE(Client(port()).connected());
  EXPECT_EQ(listener->connections(), 0U);
}

TEST(ServerHttpErrors, AddressesThatCannotBe) {
  const auto code_of = [](ListenerOptions options) {
    try {
      const Listener listener(options, {});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::busy;
  };
  EXPECT_EQ(code_of({.address = "nowhere"}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of({.address = "203.0.113.1"}), ErrorCode::io);
  const Listener first(ListenerOptions{}, {});
  EXPECT_EQ(code_of({.port = first.port()}), ErrorCode::io);
}

}  // namespace
}  // namespace prosa::server
