// prosa wyoming end to end: over a socket and over standard input and output, from its first event to its end.
//
// The model speaks nonsense; what is tested is the service around it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli_process.h"
#include "voice/wyoming/connection.h"

namespace prosa::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using wyoming::Clock;
using wyoming::Connection;
using wyoming::Event;

std::vector<std::string> service(const std::string& uri, std::vector<std::string> more = {"--max-tokens", "6"}) {
  std::vector<std::string> words = {"wyoming", chat_model(), "--uri", uri,          "--threads",
                                    "1",       "--seed",     "1",     "--language", "en"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

struct Client {
  explicit Client(const std::string& address)
      : connection(Connection::open(wyoming::parse_address(address), wake, Clock::now() + 10s)) {}
  void send(const Event& event) const { connection->send(event, Clock::now() + 10s); }
  Event receive() const { return connection->receive(Clock::now() + 60s).value_or(Event{.type = "closed"}); }

  /// The reply's text, from its pieces.
  std::string ask(const std::string& text, const std::string& conversation) const {
    const nlohmann::json context = {{"conversation_id", conversation}};
    send({.type = "transcript", .data = {{"text", text}, {"context", context}}});
    EXPECT_EQ(receive().type, "handled-start");
    std::string reply;
    Event event = receive();
    for (; event.type == "handled-chunk"; event = receive()) reply += event.text("text");
    EXPECT_EQ(event.type, "handled");
    EXPECT_EQ(event.text("text"), reply);
    EXPECT_EQ(event.data["context"], context);
    EXPECT_EQ(receive().type, "handled-stop");
    return reply;
  }

  wyoming::Wake wake;
  std::unique_ptr<Connection> connection;
};

/// The program beside the test, its standard error in a file.
class Running {
 public:
  explicit Running(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = program_words();
    words.insert(words.end(), arguments.begin(), arguments.end());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors().c_str(), O_WRONLY | O_CREAT, 0600);
    const int error = posix_spawnp(&child_, words.front().c_str(), &actions, nullptr, to_argv(words).data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("can't start " + words.front());
  }
  ~Running() {
    if (child_ > 0) end(SIGKILL);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  /// What it said of itself, once it serves.
  [[nodiscard]] std::string greeting() const {
    const auto until = Clock::now() + 60s;
    std::string said;
    while (said.find("]\n") == std::string::npos && Clock::now() < until) {
      std::this_thread::sleep_for(5ms);
      if (std::filesystem::exists(errors())) said = read_file(errors());
    }
    return said;
  }
  int end(int signal) {
    kill(child_, signal);
    return wait_for(std::exchange(child_, -1));
  }

 private:
  [[nodiscard]] std::string errors() const { return folder_.path() / "errors"; }
  TempFolder folder_;
  pid_t child_ = -1;
};

TEST(CliWyoming, AnswersOverStandardInputAndOutput) {
  const std::string command = "stdio:" + shell_words(service("stdio://"));
  const Client client(command);
  client.send({.type = "describe"});
  const Event info = client.receive();
  EXPECT_EQ(info.type, "info");
  EXPECT_TRUE(info.data["handle"][0]["supports_handled_streaming"]);
  EXPECT_EQ(info.data["handle"][0]["models"][0]["languages"], nlohmann::json({"en"}));
  EXPECT_TRUE(info.data["asr"].empty());
  const std::string first = client.ask("Hello.", "a");
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(client.ask("Hello.", "b"), first);  // another conversation, the same seed
  EXPECT_NE(client.ask("Hello.", "a"), first);  // this one goes on
  client.send({.type = "transcript", .data = {{"text", " "}}});
  const Event error = client.receive();
  EXPECT_EQ(error.type, "error");
  EXPECT_EQ(error.text("code"), "invalid_argument");
}

TEST(CliWyoming, EndsWithItsInputAndAnswersFirst) {
  const Outcome outcome = run_prosa(service("stdio://"), "{\"type\":\"transcript\",\"data\":{\"text\":\"Hi.\"}}\n");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("handled-stop"));
  const Outcome damaged = run_prosa(service("stdio://"), "hello\n{\"type\":\"describe\"}\n");
  EXPECT_EQ(damaged.exit_code, 0) << damaged.err;
  EXPECT_EQ(damaged.out, "");
}

TEST(CliWyoming, SignalsEndItGracefully) {
  const TempFolder folder;
  const std::string path = folder.path() / "socket";
  for (const int signal : {SIGTERM, SIGINT}) {
    Running program(service("unix://" + path));
    EXPECT_THAT(program.greeting(), HasSubstr(path));
    const Client client("unix://" + path);
    const std::string reply = client.ask("Hello.", "a");
    EXPECT_FALSE(reply.empty());
    EXPECT_EQ(program.end(signal), 0);
    EXPECT_EQ(client.receive().type, "closed");
    EXPECT_FALSE(std::filesystem::exists(path));
  }
}

TEST(CliWyoming, ALongReplyDoesNotKeepItFromEnding) {
  const TempFolder folder;
  const std::string path = folder.path() / "socket";
  Running program(service("unix://" + path, {"--max-tokens", "900000", "--context", "1000000", "--temperature", "0"}));
  EXPECT_THAT(program.greeting(), HasSubstr(path));
  const Client client("unix://" + path);
  client.send({.type = "transcript", .data = {{"text", "Talk."}}});
  EXPECT_EQ(client.receive().type, "handled-start");
  const auto start = Clock::now();
  EXPECT_EQ(program.end(SIGTERM), 0);
  EXPECT_LT(Clock::now() - start, 10s);
}

TEST(CliWyoming, WhatCantBeServedIsSaid) {
  Running program(service("tcp://127.0.0.1:0", {"--connections", "1"}));
  const std::string greeting = program.greeting();
  const size_t colon = greeting.rfind(':'), end = greeting.find(';');
  ASSERT_LT(colon, end);
  const std::string address = "tcp://127.0.0.1:" + greeting.substr(colon + 1, end - colon - 1);
  EXPECT_EQ(greeting.find("everybody"), std::string::npos);
  const Client first(address);
  first.send({.type = "describe"});
  EXPECT_EQ(first.receive().type, "info");
  EXPECT_EQ(Client(address).receive().text("code"), "busy");
  const Outcome taken = run_prosa(service(address));
  EXPECT_EQ(taken.exit_code, 3) << taken.err;
  for (const char* uri : {"tcp://127.0.0.1", "http://localhost:1", "stdio:cat", "10400"}) {
    const Outcome outcome = run_prosa(service(uri));
    EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(uri));
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(run_prosa(service(address, {"--hear", "no-such-engine"})).exit_code, 4);
}

}  // namespace
}  // namespace prosa::test
