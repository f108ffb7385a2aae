// The HTTP client alone, against heads that no honest server writes and against connections that go on.
//
// What a hub's answers mean is hub_pull_test's. Invariant of each test: an answer is read as if it were the first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/http.h"
#include "hub_server.h"

namespace prosa::hub {
namespace {

using test::HubServer;
using test::ServerReply;
using test::ServerRequest;

class HubHttp : public testing::Test {
 protected:
  HubHttp() {
    for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}) ::unsetenv(name);
    server.intercept([](const ServerRequest& request) -> std::optional<ServerReply> {
      if (request.path == "/folded") return ServerReply{.headers = {" X-Name: of what came before", "X-Name: folded"}};
      return ServerReply{.headers = {"X-Name: plain"}, .body = "body"};
    });
  }

  /// The answer's header X-Name and body, or what went wrong.
  static std::string ask(HttpClient& client, const std::string& url, bool head = false) {
    std::string body;
    try {
      const auto answer =
          client.perform({.url = url, .head = head}, [&](const HttpResponse&, std::span<const std::byte> bytes) {
            body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            return true;
          });
      return answer.header("x-name") + ":" + body;
    } catch (const TransferFailure& failure) {
      return failure.what();
    }
  }

  HubServer server;
};

TEST_F(HubHttp, ConnectionsGoOn) {
  const auto client = make_http_client(std::chrono::seconds(2), {});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(*client, server.endpoint() + "/plain"), "plain:body");
  EXPECT_EQ(server.connections(), 1U);
}

// A line that begins with a blank goes on with the header before it. Where there is none in this answer, there is none:
// under AddressSanitizer this test fails when the last header of the answer before is looked at.
TEST_F(HubHttp, AHeadThatBeginsFoldedFoldsOntoNothing) {
  const auto client = make_http_client(std::chrono::seconds(2), {});
  const std::string alone = ask(*make_http_client(std::chrono::seconds(2), {}), server.endpoint() + "/folded");
  for (const bool head : {false, true}) {
    EXPECT_EQ(ask(*client, server.endpoint() + "/plain", head), head ? "plain:" : "plain:body");
    EXPECT_EQ(ask(*client, server.endpoint() + "/folded"), alone);
  }
}

}  // namespace
}  // namespace prosa::hub
