// The program against a hub: prosa pull, commands that download what they need, and a process that is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "base/descriptor.h"
#include "cli_process.h"
#include "hub/journal.h"
#include "hub_server.h"

namespace prosa::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class CliPull : public testing::Test {
 protected:
  CliPull() {
    ::setenv("HF_HUB_CACHE", (folder.path() / "hub").c_str(), 1);
    ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
    ::setenv("HF_TOKEN_PATH", "/nonexistent", 1);
    for (const char* name : {"HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
    const fs::path model = folder.path() / "model";
    make_chat_model(model);
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
      server.add(name, read_file(model / name));
    }
    server.add("model.safetensors", read_file(model / "model.safetensors"), true);
  }
  ~CliPull() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN_PATH"}) ::unsetenv(name);
  }

  [[nodiscard]] fs::path repository() const { return folder.path() / "hub/models--some--model"; }
  [[nodiscard]] fs::path snapshot() const { return repository() / "snapshots" / HubServer::commit; }
  void expect_weights() {
    EXPECT_TRUE(read_file(snapshot() / "model.safetensors") == server.file("model.safetensors").bytes);
  }
  /// All but the weights, and what the server says of them.
  [[nodiscard]] uint64_t small_bytes() {
    uint64_t small = 20'000;
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
      small += server.file(name).bytes.size();
    }
    return small;
  }
  /// Bytes of the weights that are on disk, by the journal of a process that is gone.
  [[nodiscard]] uint64_t journalled(uint64_t size) {
    const fs::path partial = repository() / "blobs" / (server.file("model.safetensors").sha256 + ".prosa.incomplete");
    if (!fs::exists(partial)) return 0;
    fs::path journal = partial;
    return hub::Journal(journal.replace_extension(".journal"), size, size, fs::file_size(partial)).total_done();
  }
  /// Weights that no model could use, but large.
  void add_large(size_t bytes) {
    std::string text(bytes, '\0');
    std::mt19937_64 random(7);
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
      const uint64_t word = random();
      std::copy_n(reinterpret_cast<const char*>(&word), 8, text.begin() + static_cast<std::ptrdiff_t>(i));
    }
    server.add("model.safetensors", std::move(text), true);
  }
  static pid_t start_pull() {
    std::vector<std::string> words = program_words();
    words.insert(words.end(), {"pull", "some/model"});
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child = 0;
    const int error = posix_spawnp(&child, words.front().c_str(), &actions, nullptr, to_argv(words).data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("can't start prosa");
    return child;
  }

  TempFolder folder;
  HubServer server;
};

TEST_F(CliPull, WhatTheCacheHoldsIsListedShownAndRemoved) {
  EXPECT_THAT(run_prosa({"list"}).out, HasSubstr("holds no model"));
  ASSERT_EQ(run_prosa({"pull", "some/model"}).exit_code, 0);
  const Outcome list = run_prosa({"list"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_THAT(list.out, testing::AllOf(HasSubstr("some/model"), HasSubstr("today"), HasSubstr("qwen3.5-0.8b")));
  const json listed = json::parse(run_prosa({"list", "--json"}).out);
  ASSERT_EQ(listed["cached"].size(), 1U);
  EXPECT_EQ(listed["cached"][0]["name"], "some/model");
  EXPECT_GE(listed["cached"][0]["bytes"], server.file("model.safetensors").bytes.size());
  EXPECT_EQ(listed["cached"][0]["revisions"], json::array({"main"}));
  EXPECT_EQ(listed["cached"][0]["partial"], false);
  EXPECT_EQ(listed["aliases"]["qwen3.5-0.8b"], "Qwen/Qwen3.5-0.8B");
  EXPECT_THAT(run_prosa({"show", "some/model"}).out, HasSubstr(repository().string()));
  EXPECT_EQ(run_prosa({"show", "other/model"}).exit_code, 3);
  EXPECT_EQ(run_prosa({"show", "some/model@main"}).exit_code, 5) << "of a repository as a whole";
  EXPECT_EQ(run_prosa({"rm", "other/model", "--yes"}).exit_code, 3);

  const Outcome unasked = run_prosa({"rm", "some/model"}, "y\n");  // standard input is no terminal
  EXPECT_EQ(unasked.exit_code, 2);
  EXPECT_THAT(unasked.err, HasSubstr("--yes"));
  EXPECT_TRUE(fs::exists(snapshot() / "model.safetensors"));
  const fs::path locks = folder.path() / "hub/.locks/models--some--model";
  fs::create_directories(locks);
  const std::string lock = (locks / "abc.lock").string();
  write_file(lock, "");
  {
    const Descriptor held(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
    const Outcome busy = run_prosa({"rm", "some/model", "--yes"});
    EXPECT_EQ(busy.exit_code, 3);
    EXPECT_THAT(busy.err, HasSubstr("is being downloaded"));
  }
  EXPECT_EQ(run_prosa({"rm", "some/model", "--yes"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(repository()));
  EXPECT_FALSE(fs::exists(locks));
  EXPECT_THAT(run_prosa({"list"}).out, HasSubstr("holds no model"));
}

TEST_F(CliPull, PrintsTheFolderLast) {
  const Outcome outcome = run_prosa({"pull", "some/model"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.ends_with("\n" + snapshot().string() + "\n")) << outcome.out;
  EXPECT_THAT(outcome.err, HasSubstr("downloading some/model"));
  EXPECT_THAT(outcome.err, HasSubstr("model.safetensors: "));
  expect_weights();
  const Outcome again = run_prosa({"pull", "some/model"});
  EXPECT_EQ(again.err, "") << "nothing was fetched";
  EXPECT_THAT(again.out, HasSubstr("was here"));
}

TEST_F(CliPull, Json) {
  const Outcome outcome = run_prosa({"pull", "some/model@main", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["folder"], snapshot().string());
  EXPECT_EQ(report["commit"], HubServer::commit);
  EXPECT_EQ(report["files"].size(), 5U);
  EXPECT_EQ(report["received_bytes"], report["bytes"]);
  EXPECT_GT(report["seconds"], 0);
}

TEST_F(CliPull, CommandsDownloadWhatTheyNeed) {
  const Outcome ids = run_prosa({"tokenize", "some/model"}, "{\"text\": \"Hello\"}\n");
  EXPECT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_THAT(ids.out, HasSubstr("\"ids\""));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors")) << "the tokenizer needs no weights";
  const Outcome chat = run_prosa({"chat", "some/model", "Hello", "--max-tokens", "2", "--threads", "1"});
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_THAT(chat.err, HasSubstr("downloading some/model"));
  expect_weights();
  const uint64_t connections = server.connections();
  const Outcome inspect = run_prosa({"inspect", "some/model", "--json"});
  EXPECT_EQ(inspect.exit_code, 0) << inspect.err;
  const Outcome bench = run_prosa({"bench", "some/model", "--prompt", "4", "--gen", "1", "--threads", "1", "--json"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const Outcome forward = run_prosa({"forward", "some/model", "--revision", "main", "--ids", "1,2", "--threads", "1",
                                     "--out", folder.path() / "logits"});
  EXPECT_EQ(forward.exit_code, 0) << forward.err;
  EXPECT_EQ(server.connections(), connections) << "what the cache has is not asked for";
}

TEST_F(CliPull, OfflineNeverTouchesTheNetwork) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"pull", "some/model", "--offline"},
                                             {"inspect", "some/model", "--offline"},
                                             {"chat", "some/model", "Hello", "--offline"},
                                             {"tokenize", "some/model", "--offline"},
                                             {"template", "some/model", "--offline"},
                                             {"bench", "some/model", "--offline"},
                                             {"forward", "some/model", "--ids", "1", "--out", "f", "--offline"}}) {
    const Outcome outcome = run_prosa(words);
    EXPECT_EQ(outcome.exit_code, 3) << words[0] << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("offline")) << words[0];
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_EQ(run_prosa({"inspect", "some/model"}).exit_code, 3);
  ::unsetenv("HF_HUB_OFFLINE");
  EXPECT_EQ(server.connections(), 0U);
}

TEST_F(CliPull, FailuresAreOneLine) {
  const auto expect_line = [](const std::vector<std::string>& words, int code, const std::string& part) {
    const Outcome outcome = run_prosa(words);
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  };
  expect_line({"pull", "nobody/nothing"}, 3, "nobody/nothing");
  expect_line({"pull", "some/model@v9"}, 3, "v9");
  expect_line({"pull", "no-name"}, 5, "owner/name");
  expect_line({"pull", "some/model@main", "--revision", "v9"}, 5, "name one");
  expect_line({"inspect", "--revision", "main"}, 5, "revision");
  server.require_token("hf_secret");
  expect_line({"pull", "some/model"}, 3, "HF_TOKEN");
}

TEST_F(CliPull, KilledAtTenRandomPoints) {
  constexpr size_t size = 96'000'000;
  constexpr int kills = 10;
  add_large(size);
  server.throttle(std::chrono::milliseconds(2));
  std::mt19937 random(2024);
  int killed = 0;
  uint64_t kept = 0;
  for (int i = 0; i < kills; ++i) {
    const uint64_t until = server.body_bytes() + size / 20 + random() % (size / 25);
    const pid_t child = start_pull();
    int status = 0;
    while (server.body_bytes() < until && waitpid(child, &status, WNOHANG) == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    killed += kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status);
    const uint64_t now = journalled(size);
    EXPECT_GE(now, kept) << "after kill " << i;
    kept = now;
  }
  EXPECT_EQ(killed, kills);
  EXPECT_GT(kept, 0U);  // not a share: what sockets held is lost with each kill, more where the program is slow to read
  server.throttle({});
  const Outcome outcome = run_prosa({"pull", "some/model", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_weights();
  EXPECT_LE(json::parse(outcome.out)["received_bytes"], size - kept + small_bytes()) << "what was kept is not fetched";
  for (const auto& item : fs::directory_iterator(repository() / "blobs")) EXPECT_EQ(item.path().extension(), "");
}

TEST_F(CliPull, TwoProcessesFetchOnce) {
  constexpr size_t size = 8'000'000;
  add_large(size);
  server.throttle(std::chrono::milliseconds(8));
  const pid_t first = start_pull();
  while (server.body_bytes() < size / 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const Outcome second = run_prosa({"pull", "some/model"});
  EXPECT_EQ(wait_for(first), 0);
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("waiting for another process"));
  expect_weights();
  EXPECT_LT(server.body_bytes(), size + small_bytes());
}

TEST_F(CliPull, AnInterruptKeepsWhatHasCome) {
  constexpr size_t size = 16'000'000;
  add_large(size);
  server.throttle(std::chrono::milliseconds(8));
  const pid_t child = start_pull();
  while (server.body_bytes() < size / 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGINT);
  EXPECT_EQ(wait_for(child), 130);
  server.throttle({});
  const Outcome outcome = run_prosa({"pull", "some/model", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LT(json::parse(outcome.out)["received_bytes"], size * 3 / 4);
  expect_weights();
}

/// A file may not grow beyond a limit: what a full disk looks like from within.
TEST_F(CliPull, ADiskThatFillsUp) {
  add_large(4'000'000);
  const Outcome outcome =
      run_command({PROSA_BASH, "-c", "trap '' XFSZ; ulimit -f 2000; exec " + shell_words({"pull", "some/model"})});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("make room"));
  const Outcome again = run_prosa({"pull", "some/model", "--json"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_LT(json::parse(again.out)["received_bytes"], 3'000'000) << "what fitted was kept";
  expect_weights();
}

TEST_F(CliPull, ATerminalGetsABar) {
  add_large(8'000'000);
  server.throttle(std::chrono::milliseconds(15));
  const Outcome outcome = run_command({PROSA_BASH, "-c",
                                       "command -v script >/dev/null || exit 77; exec script -qec \"" +
                                           shell_words({"pull", "some/model"}) + "\" /dev/null"});
  if (outcome.exit_code == 77) GTEST_SKIP() << "no script(1)";
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("[#"));
  EXPECT_THAT(outcome.out, HasSubstr("iB/s"));
  EXPECT_THAT(outcome.out, HasSubstr(" left"));
  expect_weights();
}

}  // namespace
}  // namespace prosa::test
