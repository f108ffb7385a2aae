// Every number on the command line at 0, -1, the ends of its type, NaN, infinity and nothing: a clean end, in time and
// within the memory of a small machine, and of what can't be meant an error that names it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cli_process.h"

namespace prosa::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kValues = {"0",
                                          "-1",
                                          "2147483647",
                                          "-2147483648",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "18446744073709551616",
                                          "1e400",
                                          "nan",
                                          "-inf",
                                          "",
                                          ",",
                                          "1.5"};

/// A command that does its work with these words, and the options to try on it.
struct Command {
  std::vector<std::string> words;
  std::vector<std::string> options;
  std::string input = {};
};

std::vector<Command> commands(const fs::path& folder) {
  const std::string model = PROSA_TINY_CHAT;
  const std::string out = (folder / "out").string();
  const std::string text = (folder / "text.jsonl").string();
  write_file(text, "{\"text\": \"some words to be predicted, one after the other\"}\n");
  return {
      {{"chat", "hello", "--model", model, "--max-tokens", "2", "--threads", "1"},
       {"--temperature", "--top-k", "--top-p", "--min-p", "--max-tokens", "--repetition-penalty", "--presence-penalty",
        "--frequency-penalty", "--seed", "--max-thinking-tokens", "--deadline-ms", "--context", "--threads",
        "--activation-bits", "--kv-bits", "--stop", "--isa", "--backend", "--system"}},
      {{"chat", "hello", "--model", model, "--max-tokens", "2", "--threads", "1", "--cache-dir",
        (folder / "cache").string()},
       {"--cache-bytes"}},
      {{"forward", model, "--ids", "1,2,3", "--out", out, "--threads", "1"},
       {"--ids", "--greedy", "--threads", "--isa", "--backend", "--kv-bits", "--activation-bits"}},
      {{"inspect", model}, {"--context", "--kv-bits"}},
      {{"synth", "tiny", "--seed", "1", "--out", out}, {"--seed", "--bits", "--group"}},
      {{"convert", model, out}, {"--bits", "--group", "--shard-size", "--threads", "--budget", "--calibration-tokens"}},
      {{"eval", model, "--text", text, "--threads", "1"}, {"--window", "--stride", "--skip", "--limit", "--threads"}},
      {{"speak-text", "Some words."}, {"--first-clause", "--max-characters", "--queued-seconds"}},
      // These never come to their work: what is no number is to be refused before.
      {{"bench", "./no-such-model"}, {"--prompt", "--gen", "--depth", "--batch", "--repeat", "--threads"}},
      {{"voice", "--in", "./no-such-file", "--activity", "none", "--model", "./no-such-model"},
       {"--end-ms", "--soft-end-ms", "--unfinished-end-ms", "--reopen-ms", "--final-ms", "--play-rate", "--echo-db",
        "--temperature", "--seed", "--context", "--threads"}},
  };
}

/// Of the address space, where a sanitizer has not taken all of it.
std::string limit_of_memory() {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  return "";
#else
  return "ulimit -v 4000000; ";
#endif
}

std::string name_of(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += "'" + word + "' ";
  return line;
}

/// Values that are no number, or none that anything can be meant by: never accepted where a number belongs.
const std::set<std::string> kNeverNumbers = {"nan", "-inf", "", ",", "1e400"};
const std::set<std::string> kTexts = {"--stop", "--isa", "--backend", "--system", "--shard-size"};

class CliLimits : public testing::TestWithParam<size_t> {};

TEST_P(CliLimits, EveryOptionAtItsEnds) {
  const TempFolder folder;
  const Command command = commands(folder.path())[GetParam()];
  const std::string help = run_prosa({command.words[0], "--help"}).out;
  if (help.empty()) GTEST_SKIP() << "no " << command.words[0] << " in this build";
  for (const std::string& option : command.options) {
    if (help.find(option) == std::string::npos) ADD_FAILURE() << command.words[0] << " has no " << option;
    for (const std::string& value : kValues) {
      std::vector<std::string> words = command.words;
      // What stands there already gives way: an option may be given once.
      if (const auto there = std::ranges::find(words, option); there != words.end()) words.erase(there, there + 2);
      words.push_back(option + "=" + value);
      const std::string all = name_of(words);
      // The limits are far beyond what these models need.
      std::vector<std::string> limited = {"sh", "-c", "ulimit -c 0; ulimit -t 60; " + limit_of_memory() + "exec \"$@\"",
                                          "sh"};
      const std::vector<std::string> program = program_words();
      limited.insert(limited.end(), program.begin(), program.end());
      limited.insert(limited.end(), words.begin(), words.end());
      const Outcome outcome = run_command(limited, command.input);
      EXPECT_LE(outcome.exit_code, 5) << all << outcome.err;
      EXPECT_EQ(outcome.err.find("unexpected"), std::string::npos) << all << outcome.err;
      EXPECT_TRUE(outcome.exit_code == 0 || outcome.err.starts_with("prosa: ")) << all << outcome.err;
      const bool no_number = !kTexts.contains(option) && kNeverNumbers.contains(value);
      EXPECT_TRUE(!no_number || outcome.exit_code == 2) << all << "was taken";
      std::error_code ignored;
      fs::remove_all(folder.path() / "out", ignored);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Commands, CliLimits, testing::Range(size_t{0}, commands(TempFolder().path()).size()),
                         [](const auto& which) {
                           std::string name = commands(TempFolder().path())[which.param].words[0];
                           std::erase(name, '-');
                           return name + std::to_string(which.param);
                         });

}  // namespace
}  // namespace prosa::test
