// prosa serve end to end: from its first line to its end by a signal.
//
// The model speaks nonsense; what is tested is the program around the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli_process.h"
#include "server_client.h"

namespace prosa::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// The program beside the test, its standard error in a file.
class Serving {
 public:
  explicit Serving(const std::vector<std::string>& more) {
    std::vector<std::string> words = program_words();
    for (const char* word : {"serve", chat_model().c_str(), "--port", "0", "--threads", "1", "--max-tokens", "6"}) {
      words.emplace_back(word);
    }
    words.insert(words.end(), more.begin(), more.end());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors().c_str(), O_WRONLY | O_CREAT, 0600);
    const int error = posix_spawnp(&child_, words.front().c_str(), &actions, nullptr, to_argv(words).data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("can't start " + words.front());
  }
  ~Serving() {
    if (child_ > 0) end(SIGKILL);
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  [[nodiscard]] std::string said() const {
    return std::filesystem::exists(errors()) ? read_file(errors()) : std::string();
  }
  /// Where it serves; 0: it does not.
  [[nodiscard]] uint16_t port() const {
    constexpr std::string_view kPlace = "http://127.0.0.1:";
    for (int i = 0; i < 6000; ++i) {
      const std::string text = said();
      const size_t at = text.find(kPlace);
      if (at != std::string::npos && text.find(';', at) != std::string::npos) {
        return static_cast<uint16_t>(std::stoi(text.substr(at + kPlace.size())));
      }
      std::this_thread::sleep_for(10ms);
    }
    return 0;
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

TEST(CliServer, ServesUntilItIsToldToEnd) {
  Serving serving({"--name", "nonsense"});
  const uint16_t port = serving.port();
  ASSERT_NE(port, 0) << serving.said();
  const std::string body = R"({"messages": [{"role": "user", "content": "a secret"}]})";
  const Answer answer = ask(port, "POST", "/v1/chat/completions", body);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json()["model"], "nonsense");
  EXPECT_EQ(answer.json()["usage"]["completion_tokens"], 6) << "what the command line says of replies";
  EXPECT_EQ(serving.end(SIGTERM), 0);
  EXPECT_THAT(serving.said(), HasSubstr("\"path\":\"/v1/chat/completions\",\"status\":200"));
  EXPECT_EQ(serving.said().find("secret"), std::string::npos) << "no text of messages";
}

TEST(CliServer, TakesKeysFromAFile) {
  const TempFolder folder;
  const std::string keys = folder.path() / "keys";
  write_file(keys, "# two people\nfirst\n\nsecond\r\n");
  Serving serving({"--api-key-file", keys, "--quiet"});
  const uint16_t port = serving.port();
  ASSERT_NE(port, 0) << serving.said();
  EXPECT_EQ(ask(port, "GET", "/v1/models").status, 401);
  EXPECT_EQ(ask(port, "GET", "/v1/models", "", "Authorization: Bearer second\r\n").status, 200);
  EXPECT_EQ(ask(port, "GET", "/v1/models", "", "X-Api-Key: # two people\r\n").status, 401);
  EXPECT_EQ(serving.end(SIGINT), 0);
  EXPECT_EQ(serving.said().find("\"path\""), std::string::npos);
}

TEST(CliServer, SeveralModelsByName) {
  Serving serving({"second=" + chat_model(), "--model-bytes", "1000"});
  const uint16_t port = serving.port();
  ASSERT_NE(port, 0) << serving.said();
  EXPECT_EQ(ask(port, "GET", "/v1/models").json()["data"].size(), 2U);
  const std::string body = R"({"model": "second", "messages": [{"role": "user", "content": "hello"}]})";
  EXPECT_EQ(ask(port, "POST", "/v1/chat/completions", body).json()["model"], "second");
  EXPECT_EQ(ask(port, "GET", "/api/ps").json()["models"].size(), 1U);
  EXPECT_EQ(serving.end(SIGTERM), 0);
  EXPECT_THAT(serving.said(), HasSubstr("\"model\":\"second\",\"event\":\"loaded\""));
}

TEST(CliServer, WhatCannotBeServedIsSaid) {
  const auto serve = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"serve", chat_model(), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_prosa(words);
  };
  EXPECT_EQ(serve({"--host", "nowhere"}).exit_code, 5);
  EXPECT_EQ(serve({"--host", "203.0.113.1"}).exit_code, 3);
  EXPECT_EQ(serve({"--api-key-file", "/nothing/here"}).exit_code, 3);
  EXPECT_EQ(serve({"--replies", "0"}).exit_code, 2);
  EXPECT_EQ(serve({"--top-p", "5"}).exit_code, 2);
  EXPECT_EQ(serve({"b=" + chat_model(), "--name", "x"}).exit_code, 5);
  EXPECT_EQ(serve({"b=" + chat_model(), "b=" + chat_model()}).exit_code, 5);
}

}  // namespace
}  // namespace prosa::test
