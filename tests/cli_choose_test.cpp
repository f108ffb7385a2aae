// prosa choose: its two forms of output, options from everywhere, slots, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "temp_folder.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(CliChoose, ScoresEveryOptionForEveryText) {
  const TempFolder folder;
  const std::string file = (folder.path() / "commands.txt").string();
  std::ofstream(file) << "# commands\nturn on the light\r\n\nwake me in {n} minutes\n";
  const std::vector<std::string> line = {"choose",   PROSA_TINY_CHAT, "--options", file,
                                         "--option", "stop",          "--slot",    "n=number:1..12"};
  std::vector<std::string> as_json = line;
  as_json.emplace_back("--json");
  const Outcome outcome = run_prosa(as_json, "It is dark.\n\nGood night.\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  std::vector<json> answers;
  for (std::string text; std::getline(lines, text);) answers.push_back(json::parse(text));
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0]["user"], "It is dark.");
  EXPECT_EQ(answers[1]["user"], "Good night.");
  double sum = 0;
  for (const json& option : answers[0]["options"]) {
    sum += option["probability"].get<double>();
    if (option["index"] != 2) continue;  // --option first, then the file
    const int minutes = std::stoi(option["slots"]["n"].get<std::string>());
    EXPECT_TRUE(minutes >= 1 && minutes <= 12);
    EXPECT_EQ(option["text"], "wake me in " + std::to_string(minutes) + " minutes");
  }
  EXPECT_NEAR(sum, 1, 1e-9);

  std::vector<std::string> one = line;
  one.emplace_back("It is dark.");
  const Outcome text = run_prosa(one);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(std::ranges::count(text.out, '\n'), 3);
  EXPECT_THAT(text.out, HasSubstr("  turn on the light\n"));
}

TEST(CliChoose, RefusesWhatItCannotMean) {
  const auto code = [](std::vector<std::string> more, const std::string& said) {
    std::vector<std::string> line = {"choose", PROSA_TINY_CHAT, "Hello"};
    line.insert(line.end(), more.begin(), more.end());
    const Outcome outcome = run_prosa(line);
    EXPECT_THAT(outcome.err, HasSubstr(said));
    return outcome.exit_code;
  };
  EXPECT_EQ(code({}, "--options FILE"), 2);
  EXPECT_EQ(code({"--options", "/nowhere/x"}, "/nowhere/x"), 3);
  EXPECT_EQ(code({"--option", "a {b}"}, "no slot 'b'"), 5);
  EXPECT_EQ(code({"--option", "a", "--option", "a"}, "options[1]"), 5);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s"}, "NAME="), 2);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s=colour:red"}, "the kinds are"), 2);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s=number:1-3"}, "LEAST..MOST"), 2);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s=number:1..x"}, "not an integer"), 2);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s=words:99"}, "slots.s"), 5);
  EXPECT_EQ(code({"--option", "{s}", "--slot", "s=pattern:(?=a)"}, "looking ahead"), 4);
}

}  // namespace
}  // namespace prosa::test
