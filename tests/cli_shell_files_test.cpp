// What shells and man(1) are told of the program, and what the script of the source tree says without a build.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "cli_process.h"

namespace prosa::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::string> commands() {
  std::vector<std::string> names;
  std::istringstream help(run_prosa({"--help"}).out);
  bool listed = false;
  for (std::string line; std::getline(help, line);) {
    if (line == "Subcommands:") {
      listed = true;
    } else if (listed && line.empty()) {
      break;
    } else if (listed) {
      std::istringstream(line) >> names.emplace_back();
    }
  }
  return names;
}

std::vector<std::string> long_options(const std::string& command) {
  const std::string help = run_prosa({command, "--help"}).out;
  std::vector<std::string> names;
  const std::regex option(R"(\n  (?:-\w,)?(--[a-z0-9-]+))");
  for (auto match = std::sregex_iterator(help.begin(), help.end(), option); match != std::sregex_iterator(); ++match) {
    names.push_back((*match)[1]);
  }
  return names;
}

bool has(const std::string& program) { return run_command({PROSA_BASH, "-c", "command -v " + program}).exit_code == 0; }

TEST(ShellFiles, CompletionsKnowEveryCommandAndOption) {
  const std::vector<std::string> names = commands();
  EXPECT_THAT(names, Contains("chat"));
  EXPECT_THAT(names, Contains("completion"));
  const TempFolder folder;
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Outcome script = run_prosa({"completion", shell});
    ASSERT_EQ(script.exit_code, 0) << script.err;
    for (const std::string& name : names) EXPECT_THAT(script.out, HasSubstr(name)) << shell;
    for (const char* command : {"chat", "convert"}) {
      for (const std::string& option : long_options(command)) {
        EXPECT_THAT(script.out, HasSubstr(shell == "fish" ? "-l " + option.substr(2) + " " : option)) << shell;
      }
    }
    const fs::path file = folder.path() / ("prosa." + shell);
    write_file(file, script.out);
    if (!has(shell)) continue;
    EXPECT_EQ(run_command({shell, "-n", file.string()}).exit_code, 0) << shell;
  }
  EXPECT_EQ(run_prosa({"completion", "tcsh"}).exit_code, 2);
}

/// What bash offers behind these words, the last of which is being typed.
std::string offered(const std::string& script, const std::string& words) {
  const std::string line = script + "\nCOMP_WORDS=(" + words +
                           "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _prosa; printf '%s|' \"${COMPREPLY[@]}\"";
  return "|" + run_command({PROSA_BASH, "-c", line}).out;
}

TEST(ShellFiles, BashOffersWhatFits) {
  const std::string script = run_prosa({"completion", "bash"}).out;
  EXPECT_EQ(offered(script, "prosa ch"), "|chat|choose|");
  EXPECT_EQ(offered(script, "prosa chat --back"), "|--backend|");
  EXPECT_EQ(offered(script, "prosa chat --backend c"), "|cpu|cuda|");
  EXPECT_EQ(offered(script, "prosa completion z"), "|zsh|");
  EXPECT_EQ(offered(script, "prosa help conv"), "|convert|");
  EXPECT_THAT(offered(script, "prosa pull qwen3.5-0"), HasSubstr("|qwen3.5-0.8b|"));
  const TempFolder folder;
  write_file(folder.path() / "talk.session", "");
  EXPECT_EQ(offered(script, "prosa chat --session " + folder.path().string() + "/ta"),
            "|" + folder.path().string() + "/talk.session|");
}

TEST(ShellFiles, EveryCommandHasAManualPage) {
  const TempFolder folder;
  const fs::path share = folder.path() / "share";
  const Outcome all = run_prosa({"man", "--all", share.string()});
  ASSERT_EQ(all.exit_code, 0) << all.err;
  for (const char* file : {"bash-completion/completions/prosa", "zsh/_prosa", "fish/vendor_completions.d/prosa.fish",
                           "man/man1/prosa.1"}) {
    EXPECT_TRUE(fs::exists(share / file)) << file;
  }
  for (const std::string& name : commands()) {
    const fs::path page = share / "man/man1" / ("prosa-" + name + ".1");
    ASSERT_TRUE(fs::exists(page)) << page;
    EXPECT_EQ(read_file(page), run_prosa({"man", name}).out);
    for (const std::string& option : long_options(name)) {
      const std::string roff = std::regex_replace(option, std::regex("-"), "\\-");
      EXPECT_THAT(read_file(page), HasSubstr("\\fB" + roff + "\\fR")) << name;
    }
    if (!has("groff")) continue;
    const Outcome shown = run_command({"groff", "-k", "-man", "-Tutf8", "-ww", "-P-c", page.string()});
    EXPECT_EQ(shown.exit_code, 0);
    EXPECT_EQ(shown.err, "") << name;  // no warning
  }
  EXPECT_EQ(run_prosa({"man", "nothing"}).exit_code, 2);
}

/// The script, where nothing is built: it says what there is, and builds nothing for that.
TEST(Script, HelpBuildsNothing) {
  const TempFolder folder;
  const fs::path script = folder.path() / "prosa";
  fs::copy_file(fs::path(PROSA_SOURCE_DIR) / "prosa", script);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{},
                                                                                     {"--help"},
                                                                                     {"-h"},
                                                                                     {"help"},
                                                                                     {"help", "chat"},
                                                                                     {"test", "--help"},
                                                                                     {"install", "--help"},
                                                                                     {"chat", "-h"}}) {
    std::vector<std::string> line = {PROSA_BASH, script.string()};
    line.insert(line.end(), words.begin(), words.end());
    const Outcome outcome = run_command(line);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    for (const std::string& name : commands()) EXPECT_THAT(outcome.out, HasSubstr(name));
    for (const char* name : {"test", "install", "package"}) EXPECT_THAT(outcome.out, HasSubstr(name));
    EXPECT_FALSE(fs::exists(folder.path() / "build"));
  }
  EXPECT_EQ(run_command({PROSA_BASH, script.string(), "install", "--nowhere"}).exit_code, 2);
  EXPECT_EQ(run_command({PROSA_BASH, script.string(), "package", "now"}).exit_code, 2);
  EXPECT_FALSE(fs::exists(folder.path() / "build"));
}

}  // namespace
}  // namespace prosa::test
