// prosa chat end to end: one shot, script, and the conversation on a (pseudo) terminal.
//
// The model is synthetic: it speaks nonsense, as long as it is asked to. What is tested is everything around the words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "cli_terminal.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

Outcome chat(std::vector<std::string> arguments, const std::string& input = {}) {
  arguments.insert(arguments.begin(), {"chat", "--model", chat_model(), "--threads", "1"});
  return run_prosa(arguments, input);
}

void expect_bad_input(const Outcome& outcome, const std::string& fragment) {
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("prosa: ")) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(fragment));
}

TEST(CliChat, OneAnswerIsTheSameForTheSameSeed) {
  const Outcome first = chat({"What is Swift?", "--max-tokens", "12", "--seed", "7"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_TRUE(first.out.ends_with("\n"));
  EXPECT_GT(first.out.size(), 1U);
  EXPECT_EQ(first.err, "");
  EXPECT_EQ(chat({"What is Swift?", "--max-tokens", "12", "--seed", "7"}).out, first.out);
  EXPECT_NE(chat({"What is Swift?", "--max-tokens", "12", "--seed", "8"}).out, first.out);
  // The model as a positional, the prompt from standard input, and from "-".
  EXPECT_EQ(
      run_prosa({"chat", chat_model(), "What is Swift?", "--max-tokens", "12", "--seed", "7", "--threads", "1"}).out,
      first.out);
  EXPECT_EQ(chat({"--max-tokens", "12", "--seed", "7"}, "What is Swift?\n").out, first.out);
  EXPECT_EQ(chat({"-", "--max-tokens", "12", "--seed", "7"}, "What is Swift?\n").out, first.out);
  EXPECT_EQ(chat({"What is", "--max-tokens", "12", "--seed", "7"}, "Swift?\n").out,
            chat({"What is\n\nSwift?", "--max-tokens", "12", "--seed", "7"}).out)
      << "what is piped in is appended";
}

TEST(CliChat, OneAnswerAsJsonAndWithWhatItCost) {
  const std::vector<std::string> question{"Hello", "--max-tokens", "5", "--seed", "7"};
  const auto with = [&](const char* option) {
    std::vector<std::string> words = question;
    words.emplace_back(option);
    return chat(words);
  };
  const std::string plain = chat(question).out;
  const Outcome as_json = with("--json");
  const json line = json::parse(as_json.out);
  EXPECT_EQ(line["user"], "Hello");
  EXPECT_EQ(line["reply"].get<std::string>(), plain.substr(0, plain.size() - 1));
  EXPECT_EQ(line["finish"], "length");
  const Outcome verbose = with("--verbose");
  EXPECT_EQ(verbose.out, plain);
  EXPECT_THAT(verbose.err, testing::AllOf(HasSubstr("tok/s"), HasSubstr("seed 7")));
}

TEST(CliChat, IsSampledAsTheModelsAuthorsSay) {
  const TempFolder folder;
  const fs::path greedy = folder.path() / "greedy";
  fs::copy(chat_model(), greedy);
  write_file(greedy / "generation_config.json", R"({"do_sample": false, "repetition_penalty": 1.0})");
  const auto say = [](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> words{"chat", "--model", model, "--threads", "1", "Hello", "--max-tokens", "12"};
    words.insert(words.end(), more.begin(), more.end());
    return run_prosa(words).out;
  };
  const std::string first = say(greedy, {"--seed", "1"});
  EXPECT_EQ(say(greedy, {"--seed", "2"}), first);
  EXPECT_EQ(say(chat_model(), {"--temperature", "0"}), first) << "greedy, and no penalty that nobody asked for";
  EXPECT_NE(say(chat_model(), {"--seed", "1"}), say(chat_model(), {"--seed", "2"}));
  EXPECT_NE(say(greedy, {"--seed", "1", "--temperature", "5"}), first) << "what is asked for comes first";
}

TEST(CliChat, PlainLocaleTakesEveryLanguage) {
  const std::string line =
      shell_words({"chat", "--model", chat_model(), "naïve 東京 🎉", "--max-tokens", "4", "--seed", "1"});
  const Outcome outcome = run_command({"sh", "-c", "env -i PATH=\"$PATH\" LC_ALL=C " + line});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST(CliChat, StopStringEndsTheReply) {
  const Outcome whole = chat({"hi", "--max-tokens", "24", "--temperature", "0"});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  // A stop string from the middle of that very reply, at a character's border.
  size_t middle = whole.out.size() / 2;
  while (middle > 0 && (static_cast<unsigned char>(whole.out[middle]) & 0xc0) == 0x80) --middle;
  size_t end = middle + 1;
  while (end < whole.out.size() && (static_cast<unsigned char>(whole.out[end]) & 0xc0) == 0x80) ++end;
  const std::string stop = whole.out.substr(middle, end - middle);
  const Outcome cut = chat({"hi", "--max-tokens", "24", "--temperature", "0", "--stop", stop});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_LT(cut.out.size(), whole.out.size());
  EXPECT_THAT(cut.out, Not(HasSubstr(stop == "\n" ? "\n\n" : stop)));
}

TEST(CliChat, BadPrompts) {
  expect_bad_input(chat({""}), "empty");
  expect_bad_input(chat({" \n"}), "empty");
  expect_bad_input(chat({}, "\n"), "empty");
  expect_bad_input(chat({"caf\xc3\xa9 \xff!"}), "offset 6");
  expect_bad_input(chat({"hi", "--system", "\xc0\x80"}), "offset 0");
  expect_bad_input(chat({}, "abc\xed\xa0\x80"), "offset 3");  // a surrogate
}

TEST(CliChat, PromptLongerThanTheContext) {
  std::string prompt;
  for (int i = 0; i < 200; ++i) prompt += "word ";
  expect_bad_input(chat({prompt, "--context", "64"}), "64");
}

TEST(CliChat, ReaderThatGoesAwayEndsTheProgram) {
  // More tokens than the test's patience: it ends because nobody reads.
  const std::string line = shell_words({"chat", "--model", chat_model(), "hi", "--max-tokens", "900000", "--context",
                                        "1000000", "--temperature", "0", "--threads", "1"});
  const Outcome outcome = run_command({"bash", "-c", line + "| head -c 20 >/dev/null; echo ${PIPESTATUS[0]}"});
  EXPECT_EQ(outcome.out, "141\n") << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

TEST(CliChat, ScriptPlaysTurnsAndReusesTheConversation) {
  const TempFolder folder;
  const fs::path script = folder.path() / "turns.txt";
  write_file(script, "My name is Alex.\r\n\nWhat is my name?\nThank you.\n");
  const Outcome outcome = run_prosa(
      {"chat", chat_model(), "--script", script, "--json", "--max-tokens", "8", "--seed", "5", "--threads", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<json> turns;
  std::istringstream stream(outcome.out);
  for (std::string line; std::getline(stream, line);) turns.push_back(json::parse(line));
  ASSERT_EQ(turns.size(), 3U);
  EXPECT_EQ(turns[0]["user"], "My name is Alex.");
  EXPECT_EQ(turns[0]["reused"], 0);
  for (const json& turn : turns) {
    EXPECT_EQ(turn["reused"].get<int64_t>() + turn["computed"].get<int64_t>(), turn["prompt_tokens"]);
    EXPECT_GT(turn["generated"], 0);
    EXPECT_GT(turn["ttft_ms"], 0.0);
    EXPECT_GT(turn["prefill_ms"], 0.0);
    EXPECT_GE(turn["decode_tok_s"], 0.0);
    EXPECT_TRUE(turn["reply"].is_string());
    EXPECT_THAT((std::vector<std::string>{"stop", "length"}), testing::Contains(turn["finish"]));
  }
  EXPECT_GT(turns[1]["reused"], 0);
  EXPECT_GT(turns[2]["reused"], turns[1]["reused"]);

  const Outcome missing = run_prosa({"chat", chat_model(), "--script", folder.path() / "none", "--json"});
  EXPECT_EQ(missing.exit_code, 3) << missing.err;
}

TEST(CliChat, ASessionGoesOnAcrossCalls) {
  const TempFolder folder;
  const std::string session = (folder.path() / "talk").string();
  const auto ask = [&](const std::string& text, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {text, "--max-tokens", "8", "--seed", "3", "--session", session, "--cache-dir",
                               (folder.path() / "cache").string()});
    return chat(more);
  };
  ASSERT_EQ(ask("Hello", {"--system", "Be kind."}).exit_code, 0);
  ASSERT_TRUE(fs::exists(session));
  EXPECT_FALSE(fs::is_empty(folder.path() / "cache"));
  const Outcome second = ask("And now?");
  ASSERT_EQ(second.exit_code, 0) << second.err;
  const std::string script = (folder.path() / "script").string();
  write_file(script, "Hello\nAnd now?\n");
  const Outcome whole = chat({"--script", script, "--system", "Be kind.", "--max-tokens", "8", "--seed", "3"});
  EXPECT_TRUE(whole.out.ends_with(second.out)) << "the words of a conversation that was never left";
  expect_bad_input(ask("More", {"--system", "Be rude."}), "another system message");
  EXPECT_EQ(chat({"--script", script, "--session", session}).exit_code, 2);

  fs::resize_file(session, fs::file_size(session) - 1);
  const Outcome damaged = ask("More");
  EXPECT_EQ(damaged.exit_code, 4);
  EXPECT_THAT(damaged.err, HasSubstr("damaged"));
  EXPECT_EQ(damaged.out, "");
}

TEST(CliChat, AFullDiskOrALimitOnFileSizesIsAnErrorAndLeavesTheOldSession) {
  const TempFolder folder;
  const std::string session = (folder.path() / "talk").string();
  const std::vector<std::string> words{"chat",  "--model",   chat_model(), "--threads",    "1",
                                       "Hello", "--session", session,      "--max-tokens", "2"};
  ASSERT_EQ(run_command({PROSA_BASH, "-c", shell_words(words)}).exit_code, 0);
  const std::string before = read_file(session);
  const Outcome limited = run_command({PROSA_BASH, "-c", "ulimit -f 1; exec " + shell_words(words)});
  EXPECT_EQ(limited.exit_code, 3) << limited.err;
  EXPECT_THAT(limited.err, HasSubstr("ulimit -f"));
  EXPECT_EQ(read_file(session), before);
  // Standard output, too: SIGXFSZ would be exit code 153.
  const Outcome output = run_command({PROSA_BASH, "-c", "ulimit -f 0; exec " + shell_words({"--help"})});
  EXPECT_EQ(output.exit_code, 3) << output.err;
  EXPECT_EQ(fs::directory_iterator(folder.path())->path().filename(), "talk");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

std::vector<std::string> endless_chat() {
  std::vector<std::string> words = program_words();
  for (const char* word :
       {"chat", "--threads", "1", "--temperature", "0", "--max-tokens", "90000", "--context", "100000"}) {
    words.emplace_back(word);
  }
  words.insert(words.end(), {"--model", chat_model()});
  return words;
}

TEST(CliChat, AReplyGoesOnFromItsBeginning) {
  const Outcome free = chat({"What is Swift?", "--max-tokens", "8", "--temperature", "0"});
  const Outcome begun =
      chat({"What is Swift?", "--max-tokens", "8", "--temperature", "0", "--continue-final-message", "Swift is a"});
  ASSERT_EQ(begun.exit_code, 0) << begun.err;
  EXPECT_TRUE(begun.out.starts_with("Swift is a")) << begun.out;
  EXPECT_GT(begun.out.size(), std::string("Swift is a\n").size());
  EXPECT_FALSE(free.out.starts_with("Swift is a"));
  const Outcome as_json = chat({"What is Swift?", "--max-tokens", "8", "--temperature", "0", "--json",
                                "--continue-final-message", "Swift is a"});
  EXPECT_TRUE(begun.out.starts_with(json::parse(as_json.out)["reply"].get<std::string>())) << begun.out;
  EXPECT_EQ(chat({"--script", "-", "--continue-final-message", "x"}, "Hi\n").exit_code, 2);
  expect_bad_input(chat({"Hi", "--continue-final-message", " "}), "--continue-final-message");
}

TEST(CliChatTerminal, CtrlCStopsTheReplyAndNotTheProgram) {
  Terminal terminal(endless_chat());
  ASSERT_TRUE(terminal.shows("/help")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("hello\n");
  ASSERT_TRUE(terminal.shows("hello")) << terminal.screen();
  ASSERT_TRUE(terminal.shows_more(200)) << terminal.screen();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("[stopped]")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  // The conversation goes on: the next turn reuses the first one.
  terminal.type("/stats\n");
  ASSERT_TRUE(terminal.shows("cancelled")) << terminal.screen();
  terminal.type("again\n");
  ASSERT_TRUE(terminal.shows("again")) << terminal.screen();
  ASSERT_TRUE(terminal.shows_more(200)) << terminal.screen();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("[stopped]")) << terminal.screen();
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
  EXPECT_THAT(read_file(terminal.history()), HasSubstr("again"));
}

/// A slash command is a line as any other, and asks no model.
void say_nothing_much(Terminal& terminal, const std::string& line) {
  terminal.type(line + "\n");
  ASSERT_TRUE(terminal.shows("[no command " + line)) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
}

TEST(CliChatTerminal, ConversationsAtTheSameTimeShareTheirHistory) {
  const TempFolder folder;
  Terminal first(endless_chat(), folder.path());
  Terminal second(endless_chat(), folder.path());
  ASSERT_TRUE(first.shows("> ")) << first.screen();
  ASSERT_TRUE(second.shows("> ")) << second.screen();
  say_nothing_much(first, "/one");
  say_nothing_much(second, "/two");
  say_nothing_much(first, "/three");
  const std::string kept = read_file(first.history());
  for (const char* line : {"/one\n", "/two\n", "/three\n"}) EXPECT_THAT(kept, HasSubstr(line));
}

TEST(CliChatTerminal, AHistoryThatIsNoneOfItsOwnIsLeftAlone) {
  const TempFolder folder;
  const fs::path history = folder.path() / "prosa/history";
  fs::create_directories(history.parent_path());
  const auto talk = [&] {
    Terminal terminal(endless_chat(), folder.path());
    ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
    say_nothing_much(terminal, "/one");
  };
  write_file(history, "one\ntwo\n");
  talk();
  EXPECT_EQ(read_file(history), "one\ntwo\n");
  fs::remove(history);
  write_file(folder.path() / "aliases", "alias x=y\n");
  fs::create_symlink("../aliases", history);
  talk();
  EXPECT_EQ(read_file(folder.path() / "aliases"), "alias x=y\n");
  fs::remove(history);
  ASSERT_EQ(mkfifo(history.c_str(), 0600), 0);
  talk();
  EXPECT_TRUE(fs::is_fifo(history));
}

TEST(CliChatTerminal, ASecondProcessOnASessionIsToldOrReadsOnly) {
  const TempFolder folder;
  const std::string session = (folder.path() / "talk").string();
  ASSERT_EQ(chat({"Hello", "--max-tokens", "2", "--session", session}).exit_code, 0);
  std::vector<std::string> words = endless_chat();
  words.insert(words.end(), {"--session", session});
  Terminal first(words);
  ASSERT_TRUE(first.shows("[resumed: 2 messages]")) << first.screen();

  const Outcome second = chat({"Hello", "--max-tokens", "2", "--session", session});
  EXPECT_EQ(second.exit_code, 3) << second.err;
  EXPECT_THAT(second.err, HasSubstr(session + ": is in use by process "));
  EXPECT_THAT(second.err, HasSubstr("--read-only"));
  EXPECT_EQ(second.out, "");

  const std::string before = read_file(session);
  const Outcome reader = chat({"And now?", "--max-tokens", "2", "--session", session, "--read-only"});
  EXPECT_EQ(reader.exit_code, 0) << reader.err;
  words.emplace_back("--read-only");
  Terminal looking(words);
  ASSERT_TRUE(looking.shows("[resumed: 2 messages; read-only: nothing is saved]")) << looking.screen();
  looking.type("/quit\n");
  EXPECT_EQ(looking.exit_code(), 0) << looking.screen();
  EXPECT_EQ(read_file(session), before);

  ASSERT_TRUE(first.shows("> ")) << first.screen();
  first.type("/quit\n");
  EXPECT_EQ(first.exit_code(), 0) << first.screen();
  EXPECT_EQ(chat({"Hello", "--max-tokens", "2", "--session", session}).exit_code, 0);
  EXPECT_EQ(chat({"Hello", "--session", (folder.path() / "none").string(), "--read-only"}).exit_code, 3);
  EXPECT_EQ(chat({"Hello", "--read-only"}).exit_code, 2);
}

/// What was taken back must not be found on the disk.
TEST(CliChatTerminal, TheSessionFileForgetsWithTheConversation) {
  const TempFolder folder;
  const std::string session = (folder.path() / "talk").string();
  std::vector<std::string> words = program_words();
  words.insert(words.end(),
               {"chat", "--threads", "1", "--max-tokens", "2", "--model", chat_model(), "--session", session});
  Terminal terminal(words);
  const auto says = [&](const std::string& text) {
    ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
    terminal.type(text + "\n");
    ASSERT_TRUE(terminal.shows("[ended after")) << terminal.screen();
    ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
    terminal.type("/stats\n");  // answered when the file is written
    ASSERT_TRUE(terminal.shows("memory ")) << terminal.screen();
  };
  const auto commands = [&](const std::string& text, const std::string& answer) {
    ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
    terminal.type(text + "\n");
    ASSERT_TRUE(terminal.shows(answer)) << terminal.screen();
    ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
    terminal.type("/stats\n");
    ASSERT_TRUE(terminal.shows("memory ")) << terminal.screen();
  };
  const auto holds = [&](const char* text) {
    return fs::exists(session) && read_file(session).find(text) != std::string::npos;
  };
  says("the secret is swordfish");
  EXPECT_TRUE(holds("swordfish"));
  commands("/reset", "[new conversation]");
  EXPECT_FALSE(holds("swordfish"));
  says("first question");
  says("second swordfish");
  commands("/undo", "[taken back");
  EXPECT_TRUE(holds("first question"));
  EXPECT_FALSE(holds("swordfish"));
  says("/edit other question");
  EXPECT_TRUE(holds("other question"));
  EXPECT_FALSE(holds("first question"));
  commands("/system Be brief.", "[system message set");
  EXPECT_TRUE(holds("Be brief."));
  EXPECT_FALSE(holds("other question"));
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
  Terminal again(words);
  EXPECT_TRUE(again.shows("[resumed: 1 messages]")) << again.screen();
}

TEST(CliChatTerminal, ASessionFileThatCannotBeWrittenIsSaidFirst) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), {"chat", "--model", chat_model(), "--session", "/proc/no/such/folder/talk"});
  Terminal terminal(words);
  EXPECT_TRUE(terminal.shows("name a file in a folder you may write to")) << terminal.screen();
  EXPECT_EQ(terminal.exit_code(), 3);
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("/help"))) << "nothing was greeted";
}

TEST(CliChatTerminal, CommandsAndEndOfInput) {
  Terminal terminal(endless_chat());
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("half a line");
  ASSERT_TRUE(terminal.shows("line")) << terminal.screen();
  // Ctrl-C at the prompt clears the line. It counts while the program waits for a key, so it may take a second one.
  bool cleared = false;
  for (int i = 0; i < 20 && !cleared; ++i) {
    terminal.type("\x03");
    cleared = terminal.shows("\n> ", std::chrono::seconds(1));
  }
  ASSERT_TRUE(cleared) << terminal.screen();
  terminal.type("/help\n");
  ASSERT_TRUE(terminal.shows("/system TEXT")) << terminal.screen();
  terminal.type("/nonsense\n");
  ASSERT_TRUE(terminal.shows("[no command /nonsense")) << terminal.screen();
  terminal.type("/system Be brief.\n");
  ASSERT_TRUE(terminal.shows("[system message set")) << terminal.screen();
  terminal.type("/think maybe\n");
  ASSERT_TRUE(terminal.shows("[/think on or /think off]")) << terminal.screen();
  terminal.type("/think on\n");
  ASSERT_TRUE(terminal.shows("[thinking on]")) << terminal.screen();
  terminal.type("/stats\n");
  ASSERT_TRUE(terminal.shows("[no reply yet]")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("weights")) << terminal.screen();
  for (const char* command : {"/undo", "/retry", "/edit Hello"}) {
    terminal.type(command + std::string("\n"));
    ASSERT_TRUE(terminal.shows("[nothing to ")) << terminal.screen();
  }
  terminal.type("/edit\n");
  ASSERT_TRUE(terminal.shows("[/edit TEXT]")) << terminal.screen();
  terminal.type("/reset\n");
  ASSERT_TRUE(terminal.shows("[new conversation]")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("\x04");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
}

TEST(CliChatTerminal, RetryEditAndUndo) {
  std::vector<std::string> words = program_words();
  for (const char* word : {"chat", "--threads", "1", "--max-tokens", "6", "--model"}) words.emplace_back(word);
  words.push_back(chat_model());
  Terminal terminal(words);
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("hello\n");
  ASSERT_TRUE(terminal.shows("--max-tokens 6]")) << terminal.screen();
  terminal.type("/retry\n");
  ASSERT_TRUE(terminal.shows("--max-tokens 6]")) << terminal.screen();
  terminal.type("/stats\n");
  ASSERT_TRUE(terminal.shows("tokens: reused ")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("(restored at ")) << terminal.screen();
  terminal.type("/edit good day\n");
  ASSERT_TRUE(terminal.shows("--max-tokens 6]")) << terminal.screen();
  terminal.type("/undo\n");
  ASSERT_TRUE(terminal.shows("[taken back: good day]")) << terminal.screen();
  terminal.type("/undo\n");
  ASSERT_TRUE(terminal.shows("[nothing to take back]")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();  // before it, Ctrl-D means nothing
  terminal.type("\x04");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
}

TEST(CliChatTerminal, CtrlCEndsAOneShot) {
  std::vector<std::string> words = endless_chat();
  words.emplace_back("hello");
  Terminal terminal(words);
  ASSERT_TRUE(terminal.shows_more(200)) << terminal.screen();
  terminal.type("\x03");
  EXPECT_EQ(terminal.exit_code(), 130) << terminal.screen();
}

}  // namespace
}  // namespace prosa::test
