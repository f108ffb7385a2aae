// A conversation on a terminal as it is typed and read: pasting, several lines, typing ahead, widths, where lines end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include "cli/word_wrap.h"
#include "cli_process.h"
#include "cli_terminal.h"

namespace prosa::test {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

std::vector<std::string> conversation(const std::vector<std::string>& options = {}) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), {"chat", "--threads", "1", "--temperature", "0", "--model", chat_model()});
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

TEST(CliEditing, PastedLinesAreOneMessage) {
  const TempFolder state;
  Terminal terminal(conversation(), state.path());
  ASSERT_TRUE(terminal.shows("\033[?2004h")) << "the terminal is asked to mark pasted text";
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("/system \033[200~first line\rsecond\tline\r\033[201~");
  ASSERT_TRUE(terminal.shows("line")) << terminal.screen();
  terminal.type("\n");
  ASSERT_TRUE(terminal.shows("[system message set")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("\033[200~/quit\033[201~\n");  // a paste is typed text as any other
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
  EXPECT_TRUE(terminal.screen().find("\033[?2004l") != std::string::npos) << "and not to at the end";
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("[ended after"))) << "no line of it was a message of its own";
  EXPECT_THAT(read_file(terminal.history()), HasSubstr("first")) << "it can be called back";
}

TEST(CliEditing, QuotesHoldSeveralLines) {
  Terminal terminal(conversation());
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("\"\"\"/system one\n");
  ASSERT_TRUE(terminal.shows("... ")) << terminal.screen();
  terminal.type("\n");
  ASSERT_TRUE(terminal.shows("... ")) << terminal.screen();
  terminal.type("\x04");  // half a message is neither sent nor lost
  ASSERT_TRUE(terminal.shows("[\"\"\" ends the message")) << terminal.screen();
  terminal.type("two\"\"\"\n");
  ASSERT_TRUE(terminal.shows("[system message set")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("/no\\\n");
  ASSERT_TRUE(terminal.shows("... ")) << terminal.screen();
  terminal.type("such\n");
  ASSERT_TRUE(terminal.shows("[no command /no")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("\x04");
  ASSERT_TRUE(terminal.shows("[ended]")) << terminal.screen();
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST(CliEditing, WhatIsTypedDuringAReplyWaitsForThePrompt) {
  Terminal terminal(conversation({"--max-tokens", "600"}));
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("hello\n");
  ASSERT_TRUE(terminal.shows("hello")) << terminal.screen();
  ASSERT_TRUE(terminal.shows_more(200)) << terminal.screen();
  const size_t before = terminal.screen().size();
  terminal.type("zq9zq9");
  ASSERT_TRUE(terminal.shows("[ended after")) << terminal.screen();
  EXPECT_GT(terminal.screen().find("zq9", before), terminal.screen().find("[ended after", before));
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  EXPECT_TRUE(terminal.shows("zq9zq9")) << terminal.screen().substr(before);
}

TEST(CliEditing, AnotherWidthDrawsThePromptAnew) {
  Terminal terminal(conversation(), {}, 80);
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("half a question");
  ASSERT_TRUE(terminal.shows("question")) << terminal.screen();
  bool drawn = false;  // a signal between two waits is seen with the next one
  for (int columns = 60; columns > 40 && !drawn; --columns) {
    terminal.resize(columns);
    drawn = terminal.shows("half a question", std::chrono::seconds(1));
  }
  EXPECT_TRUE(drawn) << terminal.screen();
}

/// A terminal's lines after this was written: enough of one for what the program sends.
std::vector<std::string> lines_of(const std::string& written, const std::string& from) {
  std::vector<std::string> lines(1);
  for (size_t at = written.find(from); at < written.size(); ++at) {
    std::string& line = lines.back();
    if (written[at] == '\033' && at + 1 < written.size() && written[at + 1] == '[') {
      const size_t end = written.find_first_not_of("0123456789?;", at + 2);
      const int count = std::atoi(written.c_str() + at + 2);
      if (end < written.size() && written[end] == 'D') line.resize(line.size() - static_cast<size_t>(count));
      at = end;
    } else if (written[at] == '\n') {
      lines.emplace_back();
    } else if (written[at] != '\r') {
      line += written[at];
    }
  }
  return lines;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

TEST(CliEditing, LinesEndBetweenWords) {
  std::mt19937 random(7);
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += std::string(1 + random() % 9, char('a' + random() % 26)) + (i % 37 ? " " : "\n");
  text += std::string(70, '#') + " end";  // longer than a line: broken where the line ends
  for (const int columns : {20, 31, 80}) {
    cli::WordWrap wrap(columns);
    std::string written;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 5;
      written += wrap.add(std::string_view(text).substr(at, length));
      at += length;
    }
    const std::vector<std::string> lines = lines_of(written, written.substr(0, 1));
    std::string joined;
    for (const std::string& line : lines) {
      EXPECT_LT(line.size(), static_cast<size_t>(columns));
      const bool part_of_long = line.find('#') != std::string::npos;
      joined += line + (part_of_long && line.size() + 1 == static_cast<size_t>(columns) ? "" : " ");
    }
    EXPECT_EQ(words_of(joined), words_of(text));
  }
  cli::WordWrap narrow(5);
  EXPECT_EQ(narrow.add("as it is, whatever"), "as it is, whatever");
}

/// What the program shows on a terminal has the words of what it writes into a pipe, in lines that fit.
TEST(CliEditing, RepliesAreWrappedOnATerminalOnly) {
  std::vector<std::string> words = conversation({"--max-tokens", "60", "hello"});
  const std::string plain = run_command(words).out;
  Terminal terminal(words, {}, 40);
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
  const std::string first = words_of(plain).front();
  size_t longest = 0;
  for (const std::string& word : words_of(plain)) longest = std::max(longest, word.size());
  std::string shown;
  for (const std::string& line : lines_of(terminal.screen(), first.substr(0, 1))) {
    EXPECT_LE(line.size(), 3 * 40U) << "bytes of at most 40 columns";
    shown += line;
  }
  const auto without_spaces = [](std::string text) {
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\t'; });
    return text;
  };
  const std::string expected = without_spaces(plain);
  EXPECT_EQ(without_spaces(shown).substr(0, expected.size()), expected);
}

}  // namespace
}  // namespace prosa::test
