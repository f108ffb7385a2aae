// What the program does to files that are not its own, and what a signal leaves behind: inputs are not written over,
// input that can't be read is no empty input, half-written files go with the process.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <termios.h>
#include <utmp.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli_process.h"

namespace prosa::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kModel = PROSA_TINY_CHAT;

void expect_failure(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, code) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  for (const std::string& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) names.push_back(item.path().filename().string());
  std::ranges::sort(names);
  return names;
}

TEST(CliFiles, NoOutputOverwritesWhatIsRead) {
  const TempFolder folder;
  const fs::path model = folder.path() / "model";
  fs::copy(kModel, model);
  const std::string text = (folder.path() / "text.txt").string();
  write_file(text, "some words to be predicted, one after the other");
  fs::create_hard_link(text, folder.path() / "again.txt");
  fs::create_symlink("model/config.json", folder.path() / "link.svg");
  const std::string again = (folder.path() / "again.txt").string();
  const std::string link = (folder.path() / "link.svg").string();
  const std::string config = (model / "config.json").string();
  const std::string before = read_file(config);
  const std::vector<std::vector<std::string>> lines = {
      {"eval", model, "--text", text, "--save-logits", text},
      {"eval", model, "--text", text, "--svg", again},
      {"eval", model, "--text", text, "--svg", config},
      {"eval", kModel, "--text", text, "--reference", model, "--svg", link},
      {"forward", model, "--ids", "1", "--out", model / "model.safetensors"},
      {"inspect", model, "--svg", config},
      {"inspect", model, "--svg", link},
      {"bench", model, "--prompt", "0", "--gen", "0", "--svg", config},
      {"synth", "--config", config, "--seed", "1", "--out", model},
  };
  for (const std::vector<std::string>& line : lines) {
    SCOPED_TRACE(testing::PrintToString(line));
    const std::string weights = read_file(model / "model.safetensors");
    expect_failure(run_prosa(line), 5, {"would overwrite what is read"});
    EXPECT_EQ(read_file(config), before);
    EXPECT_TRUE(read_file(model / "model.safetensors") == weights);
    EXPECT_THAT(read_file(text), HasSubstr("some words"));
  }
  EXPECT_EQ(run_prosa({"inspect", model, "--svg", model / "new.svg"}).exit_code, 0);
}

TEST(CliFiles, NoCalibrationTextGoesWithTheCheckpointThatIsReplaced) {
  const TempFolder folder;
  const fs::path made = folder.path() / "made";
  fs::copy(kModel, made);
  write_file(made / "text.txt", "some words");
  expect_failure(
      run_prosa({"convert", kModel, made, "--force", "--method", "clip", "--calibration", made / "text.txt"}), 5,
      {"would overwrite what is read"});
  EXPECT_EQ(read_file(made / "text.txt"), "some words");
}

TEST(CliFiles, InputThatCannotBeReadIsNoEndOfIt) {
  for (const char* const input : {"/", "/proc/self/mem"}) {
    for (const char* const command : {"tokenize", "template"}) {
      const Outcome outcome = run_command({"sh", "-c", shell_words({command, kModel}) + "<" + input});
      expect_failure(outcome, 3, {"standard input", "cannot read"});
    }
  }
  expect_failure(run_prosa({"chat", "--model", kModel, "--script", "/", "--threads", "1"}), 3, {"cannot read"});
  EXPECT_EQ(run_prosa({"tokenize", kModel}).exit_code, 0);
}

TEST(CliFiles, AnEmptyNameIsNoName) {
  const std::vector<std::vector<std::string>> lines = {
      {"chat", "hi", "--model", kModel, "--session", ""},
      {"chat", "hi", "--model", kModel, "--cache-dir", ""},
      {"chat", "--model", kModel, "--script", ""},
      {"forward", kModel, "--ids", "1", "--out", ""},
      {"inspect", kModel, "--svg", ""},
      {"inspect", kModel, "--compare", ""},
      {"eval", kModel, "--text", ""},
      {"eval", kModel, "--prompts", ""},
      {"bench", kModel, "--svg", ""},
      {"synth", "tiny", "--out", ""},
      {"convert", kModel, ""},
  };
  for (const std::vector<std::string>& line : lines) {
    SCOPED_TRACE(testing::PrintToString(line));
    expect_failure(run_prosa(line), 2, {"the name is empty"});
  }
}

TEST(CliFiles, NumbersAreDecimalAndFitTheirType) {
  const Outcome eight = run_prosa({"inspect", kModel, "--context", "010", "--json"});
  ASSERT_EQ(eight.exit_code, 0) << eight.err;
  EXPECT_EQ(nlohmann::json::parse(eight.out)["memory"]["context"], 10);
  for (const char* const value : {"0x10", "1e3", "1.0", " 1", "1 ", "+-1", "--1", "9223372036854775808"}) {
    expect_failure(run_prosa({"inspect", kModel, "--context", value}), 2, {"--context", value});
  }
  for (const char* const value : {"-1", "18446744073709551616", "0x1", "nan"}) {
    expect_failure(run_prosa({"synth", "tiny", "--out", "/dev/null/x", std::string("--seed=") + value}), 2,
                   {"--seed", value});
  }
  for (const char* const value : {"nan", "inf", "-inf", "1e400", "1e39", "0x1p3", "1,5", ""}) {
    expect_failure(run_prosa({"chat", "hi", "--model", kModel, std::string("--temperature=") + value}), 2, {});
  }
}

TEST(CliFiles, AStreamWithoutAFolderForTemporariesIsAnError) {
  const Outcome outcome = run_command(
      {"sh", "-c",
       "TMPDIR=/nonexistent exec " + shell_words({"forward", kModel, "--ids", "1", "--out", "/dev/stdout"})});
  expect_failure(outcome, 3, {"TMPDIR"});
}

/// Without it a session file would become standard output, and the reply its content.
TEST(CliFiles, StandardOutputIsClosedWhereThereIsNoNullDevice) {
  const TempFolder folder;
  const std::string session = (folder.path() / "talk").string();
  const std::string mount = "mount -t tmpfs none /dev && ";
  if (run_command({"unshare", "-m", "sh", "-c", mount + "test ! -e /dev/null"}).exit_code != 0) {
    GTEST_SKIP() << "may not mount";
  }
  const Outcome outcome = run_command(
      {"unshare", "-m", "sh", "-c",
       mount + "exec " +
           shell_words({"chat", "hi", "--model", kModel, "--max-tokens", "2", "--threads", "1", "--session", session}) +
           ">&-"});
  expect_failure(outcome, 3, {"standard output"});
}

/// Starts the program, waits until a file whose name has `part` stands in `folder`, and sends the signal.
int exit_code_when_met(std::vector<std::string> arguments, const fs::path& folder, const std::string& part,
                       int signal) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), arguments.begin(), arguments.end());
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    for (const int descriptor : {0, 1, 2}) ::dup2(null, descriptor);
    ::execvp(words.front().c_str(), to_argv(words).data());
    ::_exit(127);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto is_there = [&] {
    std::error_code ignored;
    for (fs::recursive_directory_iterator item(folder, ignored), end; item != end; item.increment(ignored)) {
      if (item->path().filename().string().find(part) != std::string::npos) return true;
    }
    return false;
  };
  while (!is_there() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, signal);
  return wait_for(child);
}

TEST(CliFiles, ASignalLeavesNoHalfWrittenFile) {
  const TempFolder folder;
  const fs::path out = folder.path() / "big";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const int code = exit_code_when_met({"synth", "qwen3.5-0.8b", "--bits", "2", "--seed", "1", "--out", out},
                                        folder.path(), ".tmp", signal);
    EXPECT_EQ(code, 128 + signal);
    EXPECT_EQ(names_in(out), std::vector<std::string>{}) << signal;
  }
  const std::string model = (folder.path() / "source").string();
  ASSERT_EQ(run_prosa({"synth", "tiny", "--seed", "1", "--out", model}).exit_code, 0);
  for (int i = 0; i < 5; ++i) {  // it is soon done: one meeting is enough
    const fs::path made = folder.path() / "made" / std::to_string(i);
    fs::create_directories(made);
    const int code = exit_code_when_met({"convert", model, made / "q4", "--bits", "4"}, made, ".tmp", SIGTERM);
    if (code == 0) continue;
    EXPECT_EQ(code, 128 + SIGTERM);
    EXPECT_EQ(names_in(made), std::vector<std::string>{});
  }
}

/// As nohup starts a program. It waits for its input when the signal comes.
TEST(CliFiles, ASignalThatTheParentIgnoresIsIgnored) {
  const TempFolder folder;
  const std::string pipe = "'" + (folder.path() / "pipe").string() + "'";
  const std::string wait = "trap '' HUP; mkfifo " + pipe + "; (sleep 0.3; kill -HUP $$; sleep 0.1) >" + pipe + " & ";
  const Outcome outcome = run_command({"sh", "-c", wait + "exec " + shell_words({"tokenize", kModel}) + "<" + pipe});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST(CliFiles, ASignalGivesTheTerminalBack) {
  const TempFolder folder;
  for (const int signal : {SIGTERM, SIGHUP}) {
    int master = -1;
    int slave = -1;
    ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    termios before{};
    ASSERT_EQ(::tcgetattr(slave, &before), 0);
    std::vector<std::string> words = program_words();
    words.insert(words.end(), {"chat", "--model", kModel, "--threads", "1"});
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(master);
      ::setenv("XDG_STATE_HOME", folder.path().c_str(), 1);
      ::setenv("TERM", "xterm", 1);
      if (::login_tty(::dup(slave)) != 0) ::_exit(126);
      ::execvp(words.front().c_str(), to_argv(words).data());
      ::_exit(127);
    }
    termios now = before;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while ((now.c_lflag & ICANON) != 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ::tcgetattr(slave, &now);
    }
    EXPECT_EQ(now.c_lflag & ICANON, 0U) << "the editor has not taken the terminal";
    ::kill(child, signal);
    EXPECT_EQ(wait_for(child), 128 + signal);
    ASSERT_EQ(::tcgetattr(slave, &now), 0);
    EXPECT_EQ(now.c_lflag, before.c_lflag);
    EXPECT_EQ(now.c_iflag, before.c_iflag);
    ::close(slave);
    ::close(master);
  }
}

}  // namespace
}  // namespace prosa::test
