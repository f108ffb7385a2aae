// pull() against a hub that behaves, and against every way in which servers, networks and disks do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <random>

#include "checkpoint_fixture.h"
#include "hub/cache.h"
#include "hub/file.h"
#include "hub/resolve.h"
#include "hub_server.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;
using checkpoint::expect_error;
using checkpoint::read_bytes;
using checkpoint::write_bytes;
using test::HubServer;
using test::ServerReply;
using test::ServerRequest;
using testing::HasSubstr;

std::string noise(size_t bytes, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

constexpr size_t kWeightBytes = 3'000'017;  // no multiple of anything

class HubPull : public testing::Test {
 protected:
  HubPull() {
    for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}) ::unsetenv(name);
    server.add("config.json", "{\"model_type\": \"qwen3_5\"}");
    server.add("tokenizer.json", noise(5000, 2));
    server.add("README.md", "not wanted");
    server.add("model.safetensors", noise(kWeightBytes), true);
    settings.endpoint = server.endpoint();
    settings.cache = folder.path() / "hub";
    settings.first_wait = std::chrono::milliseconds(5);
    settings.stall = std::chrono::seconds(1);
    settings.smallest_piece = 300'000;
  }

  PullReport pull(const std::string& name = "some/model") {
    PullOptions options;
    options.progress = [this](const DownloadProgress& progress) {
      EXPECT_LE(progress.done_bytes, progress.total_bytes);
      if (!progress.notice.empty()) notices += std::string(progress.notice) + "\n";
      if (watch) watch(progress);
    };
    options.cancel = &cancel;
    options.verify = verify;
    return hub::pull(*parse_hub_name(name), settings, options);
  }
  void expect_pull_error(ErrorCode code, const std::vector<std::string>& parts,
                         const std::string& name = "some/model") {
    expect_error(code, parts, [&] { pull(name); });
  }
  /// An intercept for requests whose path holds `part`, the first `times` of them.
  void misbehave(const std::string& part, int times, std::function<ServerReply(const ServerRequest&)> reply) {
    auto left = std::make_shared<std::atomic<int>>(times);
    server.intercept([=](const ServerRequest& request) -> std::optional<ServerReply> {
      if (request.path.find(part) == std::string::npos || left->fetch_sub(1) <= 0) return std::nullopt;
      return reply(request);
    });
  }
  [[nodiscard]] const HubServer::File& weights() const { return server.file("model.safetensors"); }
  [[nodiscard]] fs::path snapshot() const { return cache().snapshot(HubServer::commit); }
  [[nodiscard]] RepositoryCache cache() const { return {settings.cache, *parse_hub_name("some/model")}; }
  void expect_whole() {
    EXPECT_TRUE(read_bytes(snapshot() / "model.safetensors") == weights().bytes);
    EXPECT_EQ(read_bytes(snapshot() / "tokenizer.json"), server.file("tokenizer.json").bytes);
    for (const auto& item : fs::directory_iterator(cache().folder() / "blobs")) {
      EXPECT_EQ(item.path().extension(), "") << "left over: " << item.path();
    }
  }

  TempFolder folder;
  HubServer server;
  Settings settings;
  std::atomic<bool> cancel{false};
  bool verify = false;
  std::string notices;
  std::function<void(const DownloadProgress&)> watch;
};

TEST_F(HubPull, FetchesTheFilesOfAModelAndNoOthers) {
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.folder, snapshot());
  EXPECT_EQ(report.commit, HubServer::commit);
  EXPECT_FALSE(fs::exists(snapshot() / "README.md"));
  EXPECT_EQ(read_bytes(cache().folder() / "refs/main"), HubServer::commit);
  EXPECT_TRUE(fs::exists(cache().blob(weights().sha256)));
  EXPECT_TRUE(fs::exists(cache().blob(server.file("config.json").sha1)));
  ASSERT_EQ(report.files.size(), 3U);
  EXPECT_EQ(report.files.back().received_bytes, static_cast<int64_t>(kWeightBytes));
  EXPECT_GT(server.count("GET", "/blob/"), 5U) << "pieces";
  EXPECT_EQ(notices, "");
}

TEST_F(HubPull, ASecondPullFetchesNothing) {
  pull();
  const uint64_t before = server.body_bytes();
  const size_t gets = server.count("GET", "");
  const PullReport again = pull();
  EXPECT_EQ(server.count("GET", ""), gets + 1) << "what main means now";
  EXPECT_LT(server.body_bytes() - before, 2000U);
  EXPECT_EQ(again.files.back().received_bytes, 0);
  const uint64_t connections = server.connections();
  EXPECT_EQ(pull("some/model@" + std::string(HubServer::commit)).folder, snapshot());
  settings.offline = true;
  EXPECT_EQ(pull().folder, snapshot());
  EXPECT_EQ(server.connections(), connections) << "a commit never changes, and offline is offline";
}

TEST_F(HubPull, OfflineOpensNoConnection) {
  settings.offline = true;
  expect_pull_error(ErrorCode::not_found, {"some/model", "models--some--model", "offline"});
  EXPECT_EQ(server.connections(), 0U);
}

TEST_F(HubPull, ASubfolder) {
  server.add("int4/config.json", "{}");
  server.add("int4/model.safetensors", noise(1000, 3), true);
  const PullReport report = pull("some/model:int4");
  EXPECT_EQ(report.folder, snapshot() / "int4");
  EXPECT_EQ(fs::read_symlink(snapshot() / "int4/config.json").string().substr(0, 15), "../../../blobs/");
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));
  expect_pull_error(ErrorCode::not_found, {"config.json", "int4"}, "some/model:int5");
}

TEST_F(HubPull, ShardsThatTheIndexNames) {
  server.remove("model.safetensors");
  server.add("model-00001-of-00002.safetensors", noise(500'000, 4), true);
  server.add("model-00002-of-00002.safetensors", noise(700'000, 5), true);
  server.add("consolidated.safetensors", noise(10, 6), true);
  server.add("mtp.safetensors", noise(10, 7), true);
  server.add(index_name,
             R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})");
  pull();
  EXPECT_EQ(cache().missing(HubServer::commit, "", Parts::all), std::nullopt);
  EXPECT_TRUE(fs::exists(snapshot() / "mtp.safetensors"));
  EXPECT_FALSE(fs::exists(snapshot() / "consolidated.safetensors"));
}

TEST_F(HubPull, AnIndexThatNamesWhatIsNotThere) {
  server.add(index_name, R"({"weight_map": {"a": "model-00001-of-00002.safetensors"}})");
  pull();  // of a repository that has model.safetensors as well
  expect_whole();
  EXPECT_EQ(cache().missing(HubServer::commit, "", Parts::all), std::nullopt);
  fs::remove_all(settings.cache);  // a commit is not asked for twice
  server.remove("model.safetensors");
  expect_pull_error(ErrorCode::not_found, {"model-00001-of-00002.safetensors", index_name});
  fs::remove_all(settings.cache);
  server.add(index_name, R"({"weight_map": {"a": "../../../../etc/passwd"}})");
  expect_pull_error(ErrorCode::bad_checkpoint, {index_name, "passwd"});
}

TEST_F(HubPull, ARepositoryWithoutWeights) {
  server.remove("model.safetensors");
  expect_pull_error(ErrorCode::not_found, {"some/model", "no weights"});
  server.add("int8/model.safetensors", "x", true);
  expect_pull_error(ErrorCode::not_found, {"some/model:int8"});
  server.remove("config.json");
  expect_pull_error(ErrorCode::not_found, {"no config.json"});
}

TEST_F(HubPull, HostileNamesAreNotFetched) {
  for (const char* name : {"../../../evil.json", "/etc/evil.json", "a/../../tokenizer_config.json", "..\\evil"})
    server.list(name);
  server.list(std::string("vocab.json\0.evil", 16));
  pull();
  expect_whole();
  EXPECT_EQ(server.count("", "evil"), 0U);
}

TEST_F(HubPull, TextOnly) {
  PullOptions options;
  options.text_only = true;
  hub::pull(*parse_hub_name("some/model"), settings, options);
  EXPECT_TRUE(fs::exists(snapshot() / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));
  pull();
  expect_whole();
}

TEST_F(HubPull, TheTokenGoesToTheHubAlone) {
  settings.token = "hf_secret";
  server.require_token("hf_secret");
  pull();
  size_t with = 0;
  for (const ServerRequest& request : server.requests()) {
    if (request.storage) {
      EXPECT_EQ(request.header("authorization"), "");
    }
    with += request.header("authorization") == "Bearer hf_secret";
  }
  EXPECT_GT(with, 5U);
}

TEST_F(HubPull, GatedAndPrivate) {
  server.require_token("hf_secret");
  expect_pull_error(ErrorCode::access_denied, {"gated", "HF_TOKEN", "/some/model"});
  settings.token = "hf_other";
  expect_pull_error(ErrorCode::access_denied, {"gated", "account of your HF_TOKEN"});
  misbehave("/revision/", 9, [](const ServerRequest&) { return HubServer::error(403); });
  expect_pull_error(ErrorCode::access_denied, {"refuses"});
  misbehave("/revision/", 9, [](const ServerRequest&) { return HubServer::error(401); });
  expect_pull_error(ErrorCode::access_denied, {"token"});
  settings.token.clear();
  expect_pull_error(ErrorCode::access_denied, {"HF_TOKEN", "does not exist"});
}

TEST_F(HubPull, WhatIsNotThere) {
  expect_pull_error(ErrorCode::not_found, {"nobody/nothing", "no such repository"}, "nobody/nothing");
  expect_pull_error(ErrorCode::not_found, {"revision 'v9'"}, "some/model@v9");
  misbehave("/resolve/", 1, [](const ServerRequest&) { return HubServer::error(404, "EntryNotFound"); });
  expect_pull_error(ErrorCode::not_found, {"no such file", "config.json"});
}

TEST_F(HubPull, BusyServersAreAskedAgain) {
  misbehave("/revision/", 3, [n = 0](const ServerRequest&) mutable {
    constexpr int codes[] = {503, 500, 429};
    return HubServer::error(codes[n++ % 3]);
  });
  pull();
  expect_whole();
  EXPECT_THAT(notices, HasSubstr("503"));
  EXPECT_THAT(notices, HasSubstr("trying again"));
}

TEST_F(HubPull, ATryThatFailedIsToldBeforeTheNext) {
  for (const char* part : {"/revision/", "/resolve/"}) {
    std::atomic<int> told = 0;
    std::vector<int> told_before;  // each request
    watch = [&](const DownloadProgress& progress) { told += progress.notice.empty() ? 0 : 1; };
    misbehave(part, 3, [&](const ServerRequest&) {
      told_before.push_back(told);
      return HubServer::error(503);
    });
    pull();
    EXPECT_EQ(told_before, (std::vector<int>{0, 1, 2})) << part;
    fs::remove_all(settings.cache);
  }
}

TEST_F(HubPull, RetryAfterIsWaitedFor) {
  misbehave("/blob/", 1, [](const ServerRequest&) {
    ServerReply reply = HubServer::error(429);
    reply.headers.emplace_back("Retry-After: 1");
    return reply;
  });
  const auto start = std::chrono::steady_clock::now();
  pull();
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
  expect_whole();
  fs::remove_all(settings.cache);
  misbehave("/revision/", 1, [](const ServerRequest&) {
    ServerReply reply = HubServer::error(429);
    reply.headers.emplace_back("RateLimit: \"api\";r=0;t=4000");
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"4000 s"});
}

TEST_F(HubPull, WaitsBeyondAllTypes) {
  for (const char* header :
       {"Retry-After: 9223372036854775807", "Retry-After: 9223372036854775",
        "RateLimit: \"api\";r=0;t=9223372036854775807", "RateLimit: \"api\";r=0;t=99999999999999999999999"}) {
    misbehave("/revision/", 1, [header](const ServerRequest&) {
      ServerReply reply = HubServer::error(429);
      reply.headers.emplace_back(header);
      return reply;
    });
    SCOPED_TRACE(header);
    expect_pull_error(ErrorCode::network, {"asks to wait", "try again later"});
  }
  // What makes no sense is no answer.
  for (const char* header : {"RateLimit: \"api\";r=0;t=-9223372036854775808", "RateLimit: t=-99999999999999999999999",
                             "RateLimit: t=", "RateLimit: t=x", "Retry-After: -1", "Retry-After: 0",
                             "Retry-After: 99999999999999999999999"}) {
    SCOPED_TRACE(header);
    misbehave("/revision/", 1, [header](const ServerRequest&) {
      ServerReply reply = HubServer::error(429);
      reply.headers.emplace_back(header);
      return reply;
    });
    pull();
    expect_whole();
    fs::remove_all(settings.cache);
  }
}

TEST_F(HubPull, SizesThatNoFileCanHave) {
  for (const char* size : {"17592186044417", "9223372036854775807", "9223372036854775808", "18446744073709551615",
                           "18446744073709551616", "-1", "1e3", "0x10", "12 "}) {
    SCOPED_TRACE(size);
    misbehave("/resolve/", 1000, [this, size](const ServerRequest& request) {
      ServerReply reply = server.answer(request);
      std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("X-Linked-Size"); });
      reply.headers.emplace_back("X-Linked-Size: " + std::string(size) + (std::string(size) == "12 " ? "x" : ""));
      return reply;
    });
    expect_pull_error(ErrorCode::network, {"announces a size"});
  }
  for (const uint64_t size : {uint64_t{1} << 45, uint64_t{INT64_MAX}}) {
    SCOPED_TRACE(size);
    misbehave("/resolve/", 1000, [this, size](const ServerRequest& request) {
      ServerReply reply = server.answer(request);
      std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("X-Linked-Size"); });
      reply.announced = size;
      return reply;
    });
    expect_pull_error(ErrorCode::network, {"some/model"});
  }
}

TEST_F(HubPull, PatienceEnds) {
  misbehave("/blob/", 1000, [](const ServerRequest&) { return HubServer::error(502); });
  expect_pull_error(ErrorCode::network, {"502", "5 tries", "model.safetensors"});
  server.intercept(nullptr);
  pull();
  expect_whole();
}

TEST_F(HubPull, NobodyListens) {
  settings.endpoint = "http://127.0.0.1:1";
  expect_pull_error(ErrorCode::network, {"some/model", "5 tries"});
}

TEST_F(HubPull, ThroughAProxy) {
  ::setenv("http_proxy", server.endpoint().c_str(), 1);
  settings.endpoint = "http://hub.invalid";
  settings.token = "hf_secret";
  server.require_token("hf_secret");
  pull();
  ::unsetenv("http_proxy");
  expect_whole();
  for (const ServerRequest& request : server.requests()) {
    EXPECT_EQ(request.proxied_host, request.storage ? server.storage() : "http://hub.invalid");
    EXPECT_EQ(request.header("authorization"), request.storage ? "" : "Bearer hf_secret");
  }
}

TEST_F(HubPull, CutConnections) {
  misbehave("/blob/", 20, [this, n = 0](const ServerRequest& request) mutable {
    ServerReply reply = server.range_reply(request, weights());
    reply.cut_after = static_cast<uint64_t>(70'000 + 1000 * ++n);
    return reply;
  });
  pull();
  expect_whole();
  EXPECT_LT(server.body_bytes(), kWeightBytes + 100'000) << "only what was missing";
}

TEST_F(HubPull, ASlowDripIsGivenUpAndAskedAgain) {
  misbehave("/blob/", 2, [this](const ServerRequest& request) {
    ServerReply reply = server.range_reply(request, weights());
    reply.block = 10;
    reply.per_block = std::chrono::milliseconds(100);
    return reply;
  });
  pull();
  expect_whole();
  EXPECT_THAT(notices, HasSubstr("stalled"));
}

TEST_F(HubPull, WrongBytesAreDiscarded) {
  const std::string other = noise(kWeightBytes, 99);
  HubServer::File wrong;
  wrong.bytes = other;
  wrong.lfs = true;
  misbehave("/blob/", 1000, [&](const ServerRequest& request) { return server.range_reply(request, wrong); });
  expect_pull_error(ErrorCode::network, {"model.safetensors", "hash", "discarded"});
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));
  EXPECT_FALSE(fs::exists(cache().partial(weights().sha256)));
  EXPECT_FALSE(fs::exists(cache().folder() / "refs/main"));
  server.intercept(nullptr);
  pull();
  expect_whole();
}

TEST_F(HubPull, ASmallFileHasAHashToo) {
  misbehave("/resolve-cache/", 1000, [](const ServerRequest& request) {
    ServerReply reply;
    reply.headers = {"ETag: \"ce013625030ba8dba906f756967f9e9ca394464a\""};
    reply.body = request.method == "HEAD" ? "hello\n" : "hellO\n";
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"config.json", "ce013625"});
}

TEST_F(HubPull, AnotherSizeThanAnnounced) {
  misbehave("/resolve/", 1000, [this](const ServerRequest& request) {
    ServerReply reply = server.answer(request);
    std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("X-Linked-Size"); });
    if (reply.status == 302) reply.headers.emplace_back("X-Linked-Size: 2000000");
    return reply;
  });
  expect_pull_error(ErrorCode::network, {std::to_string(kWeightBytes), "2000000"});
}

TEST_F(HubPull, AnEndlessBodyEnds) {
  misbehave("/blob/", 1000, [](const ServerRequest&) {
    ServerReply reply;
    reply.status = 206;
    reply.headers = {"Content-Range: bytes 0-299999/" + std::to_string(kWeightBytes)};
    reply.endless = true;
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"model.safetensors"});
  misbehave("/revision/", 1000, [](const ServerRequest&) {
    ServerReply reply;
    reply.endless = true;
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"does not end"});
}

TEST_F(HubPull, OtherBytesThanAskedFor) {
  misbehave("/blob/", 1000, [this](const ServerRequest& request) {
    ServerReply reply = server.range_reply(request, weights());
    std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("Content-Range"); });
    reply.headers.emplace_back("Content-Range: bytes 7-9/" + std::to_string(kWeightBytes));
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"other bytes"});
}

TEST_F(HubPull, AServerWithoutRanges) {
  misbehave("/blob/", 1000, [this](const ServerRequest&) {
    ServerReply reply;
    reply.body = weights().bytes;
    return reply;
  });
  pull();
  expect_whole();
  EXPECT_THAT(notices, HasSubstr("no ranges"));
}

TEST_F(HubPull, AFileWhoseSizeNobodyTells) {
  misbehave("/resolve/", 1000, [this](const ServerRequest& request) {
    ServerReply reply = server.answer(request);
    std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("X-Linked-Size"); });
    return reply;
  });
  pull();
  expect_whole();
}

TEST_F(HubPull, Redirects) {
  misbehave("/resolve/", 1000, [this](const ServerRequest& request) {
    ServerReply reply = server.answer(request);
    for (std::string& line : reply.headers) {
      if (line.starts_with("Location")) line = "Location: " + request.path;
    }
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"redirects without end"});
  misbehave("/revision/", 1000, [](const ServerRequest&) {
    ServerReply reply;
    reply.status = 302;
    reply.headers = {"Location: file:///etc/passwd"};
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"no http"});
}

TEST_F(HubPull, ALinkToStorageThatHasExpired) {
  misbehave("/blob/", 3, [](const ServerRequest&) { return HubServer::error(403); });
  settings.connections = 1;
  // The link of the HEAD is refused once; then the hub is asked for another, which is refused as well and final.
  expect_pull_error(ErrorCode::access_denied, {"model.safetensors"});
  misbehave("/blob/", 1, [](const ServerRequest&) { return HubServer::error(403); });
  pull();
  expect_whole();
}

TEST_F(HubPull, NotAHub) {
  for (const std::string body : {"<html>hello</html>", "[]", "{}", R"({"sha": "../..", "siblings": []})",
                                 R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": 1})"}) {
    misbehave("/revision/", 1, [&](const ServerRequest&) {
      ServerReply reply;
      reply.own = body;
      return reply;
    });
    expect_pull_error(ErrorCode::network, {"HF_ENDPOINT"});
  }
  misbehave("/revision/", 1, [](const ServerRequest&) {
    ServerReply reply;
    reply.own = std::string(200'000, '[');
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"nested"});
  misbehave("/resolve/", 1, [](const ServerRequest&) {
    ServerReply reply;
    reply.headers = {"ETag: \"../../../evil\"", "X-Linked-Size: 5"};
    return reply;
  });
  expect_pull_error(ErrorCode::network, {"etag"});
}

TEST_F(HubPull, CancelKeepsWhatHasCome) {
  server.throttle(std::chrono::milliseconds(40));  // much is to come when the news of a first megabyte arrives late
  watch = [this](const DownloadProgress& progress) {
    if (progress.done_bytes > 1'000'000) cancel = true;
  };
  expect_pull_error(ErrorCode::cancelled, {});
  server.throttle({});
  watch = nullptr;
  cancel = false;
  const PullReport report = pull();
  expect_whole();
  EXPECT_LT(report.files.back().received_bytes, static_cast<int64_t>(kWeightBytes) - 900'000);
}

TEST_F(HubPull, ACallbackThatThrowsEndsIt) {
  watch = [](const DownloadProgress& progress) {
    if (progress.done_bytes > 100) throw std::runtime_error("enough");
  };
  EXPECT_THROW(pull(), std::runtime_error);
  watch = nullptr;
  pull();
  expect_whole();
}

TEST_F(HubPull, GoesOnWithWhatPythonHasLeft) {
  cache().prepare();
  write_bytes(cache().python_partial(weights().sha256), std::string(weights().bytes.substr(0, 2'000'000)));
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.files.back().received_bytes, static_cast<int64_t>(kWeightBytes) - 2'000'000);
}

TEST_F(HubPull, APartThatIsWorthNothingIsFetchedAgain) {
  cache().prepare();
  write_bytes(cache().python_partial(weights().sha256), noise(2'000'000, 77));
  pull();
  expect_whole();
  EXPECT_THAT(notices, HasSubstr("fetching it again"));
  fs::remove_all(settings.cache);
  cache().prepare();
  write_bytes(cache().python_partial(weights().sha256), noise(kWeightBytes + 5, 77));
  pull();
  expect_whole();
}

TEST_F(HubPull, ABlobOfAnotherSizeIsReplaced) {
  cache().prepare();
  write_bytes(cache().blob(weights().sha256), "cut");
  pull();
  expect_whole();
}

TEST_F(HubPull, VerifyFindsDamage) {
  pull();
  std::string bytes = read_bytes(snapshot() / "model.safetensors");
  bytes[12345] ^= 1;
  write_bytes(cache().blob(weights().sha256), bytes);
  pull();
  EXPECT_TRUE(read_bytes(snapshot() / "model.safetensors") == bytes) << "nobody looked";
  verify = true;
  pull();
  expect_whole();
  EXPECT_THAT(notices, HasSubstr("damaged"));
}

TEST_F(HubPull, TwoAtOnceFetchOnce) {
  server.throttle(std::chrono::milliseconds(5));
  std::string first_notices;
  std::thread first([&] {
    PullOptions options;
    options.progress = [&](const DownloadProgress& progress) { first_notices += progress.notice; };
    hub::pull(*parse_hub_name("some/model"), settings, options);
  });
  pull();
  first.join();
  expect_whole();
  EXPECT_LT(server.body_bytes(), kWeightBytes + 20'000);
  EXPECT_THAT(notices + first_notices, HasSubstr("waiting for another process"));
}

TEST_F(HubPull, ACacheThatCannotBeWritten) {
  fs::create_directories(settings.cache);
  fs::permissions(settings.cache, fs::perms::owner_read | fs::perms::owner_exec);
  fs::permissions(folder.path(), fs::perms::all);
  const bool root = ::geteuid() == 0;
  if (root && ::seteuid(65534) != 0) GTEST_SKIP() << "root, and unable to become anyone else";
  expect_pull_error(ErrorCode::io, {"HF_HUB_CACHE"});
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  fs::permissions(settings.cache, fs::perms::owner_all);
  settings.cache = "/dev/null/hub";
  expect_pull_error(ErrorCode::io, {"/dev/null"});
}

TEST_F(HubPull, ADiskWithTooLittleRoom) {
  misbehave("/resolve/", 1000, [this](const ServerRequest& request) {
    ServerReply reply = server.answer(request);
    std::erase_if(reply.headers, [](const std::string& line) { return line.starts_with("X-Linked-Size"); });
    if (reply.status == 302) reply.headers.emplace_back("X-Linked-Size: 16000000000000");
    return reply;
  });
  expect_pull_error(ErrorCode::io, {"16000.00 GB", "free"});
  EXPECT_EQ(server.count("GET", "/blob/"), 0U);
}

TEST_F(HubPull, RefusesALinkThatLeadsOutOfTheCache) {
  pull();
  write_bytes(folder.path() / "outside", "secret");
  fs::remove(snapshot() / "model.safetensors");
  fs::create_symlink(folder.path() / "outside", snapshot() / "model.safetensors");
  expect_pull_error(ErrorCode::bad_checkpoint, {"out of the hub cache"});
  fs::remove(snapshot() / "model.safetensors");
  fs::remove(cache().blob(weights().sha256));
  fs::create_symlink(folder.path() / "outside", cache().partial(weights().sha256));
  expect_pull_error(ErrorCode::io, {"incomplete"});
  EXPECT_EQ(read_bytes(folder.path() / "outside"), "secret");
}

}  // namespace
}  // namespace prosa::hub
