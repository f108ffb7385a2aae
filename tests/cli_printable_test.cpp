// What reaches a terminal of names in files, folder names, answers of servers, scripts and replies: no control but the
// program's own. Errors are one line of at most 500 characters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "cli_process.h"
#include "prosa/text.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

// Clears the screen, sets the title, U+009B, DEL, a line that reads backwards, and a line of its own.
const std::string kHostile =
    "\x1b[2J\x1b]0;title\x07\xc2\x9b"
    "1m\x7f\xe2\x80\xae"
    "drowssap\r\nprosa: forged";

size_t dangers_in(std::string_view text, bool on_terminal = false) {
  size_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const utf8::Step here = utf8::step(text, at);
    if (on_terminal && text.substr(at).starts_with("\r\n")) {  // what the terminal makes of a newline
      at += 2;
      continue;
    }
    const std::string_view piece = text.substr(at, here.size);
    count += piece != "\n" && piece != "\t" && printable(piece) != piece;
    at += here.size;
  }
  return count;
}

void expect_safe(const Outcome& outcome) {
  EXPECT_EQ(dangers_in(outcome.out), 0U) << printable(outcome.out);
  EXPECT_EQ(dangers_in(outcome.err), 0U) << printable(outcome.err);
}

void expect_one_line(const Outcome& outcome, int exit_code) {
  EXPECT_EQ(outcome.exit_code, exit_code) << printable(outcome.err);
  expect_safe(outcome);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << printable(outcome.err);
  EXPECT_TRUE(outcome.err.starts_with("prosa: ")) << outcome.err;
  const std::string line = outcome.err.substr(0, outcome.err.find('\n'));
  EXPECT_EQ(printable_line(line), line) << "longer than 500 characters";
}

/// All that the program writes to a terminal.
std::string on_terminal(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), arguments.begin(), arguments.end());
  int master = -1;
  const pid_t child = forkpty(&master, nullptr, nullptr, nullptr);
  if (child == 0) {
    setenv("NO_COLOR", "1", 1);
    const std::vector<char*> argv = to_argv(words);
    execvp(argv.front(), argv.data());
    _exit(127);
  }
  if (child < 0) throw std::runtime_error("no pseudo terminal");
  std::string screen;
  char buffer[4096];
  while (true) {
    pollfd ready = {master, POLLIN, 0};
    if (poll(&ready, 1, 60'000) <= 0) break;
    const ssize_t count = read(master, buffer, sizeof buffer);
    if (count <= 0) break;
    screen.append(buffer, static_cast<size_t>(count));
  }
  close(master);
  EXPECT_EQ(wait_for(child), 0) << printable(screen);
  return screen;
}

/// A model that chats, copied: a test may rename and damage it.
class HostileModel {
 public:
  explicit HostileModel(const std::string& name = "model") : path_(folder_.path() / name) {
    fs::create_directory(path_);
    for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"})
      fs::copy_file(fs::path(PROSA_TINY_CHAT) / file, path_ / file);
  }
  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Adds an empty tensor of that name.
  void add_tensor(const std::string& name) const {
    const std::string bytes = read_file(file("model.safetensors"));
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    json header = json::parse(bytes.substr(sizeof length, length));
    header[name] = {{"dtype", "F32"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
    const std::string text = header.dump();
    const uint64_t longer = text.size();
    write_file(file("model.safetensors"), std::string(reinterpret_cast<const char*>(&longer), sizeof longer) + text +
                                              bytes.substr(sizeof length + length));
  }

 private:
  TempFolder folder_;
  fs::path path_;
};

TEST(CliPrintable, NamesOfTensorsAndFolders) {
  const HostileModel model(
      "evil\x1b[31m\xe2\x80\xae"
      "name");
  model.add_tensor(kHostile);
  const Outcome text = run_prosa({"inspect", model.path(), "--tensors"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  expect_safe(text);
  EXPECT_THAT(text.out, HasSubstr("\\x1b[2J\\x1b]0;title\\x07\\x9b1m\\x7f\\u202edrowssap"));
  EXPECT_THAT(text.out, Not(HasSubstr("\nprosa: forged"))) << "a name must not make a line";
  EXPECT_THAT(text.out, HasSubstr("evil\\x1b[31m\\u202ename"));
  const Outcome as_json = run_prosa({"inspect", model.path(), "--tensors", "--json"});
  ASSERT_EQ(as_json.exit_code, 0) << as_json.err;
  expect_safe(as_json);
  bool found = false;
  const json report = json::parse(as_json.out);
  for (const json& tensor : report["tensors"]) found = found || tensor["name"] == kHostile;
  EXPECT_TRUE(found) << "programs get the name as it is";
}

TEST(CliPrintable, ErrorsAboutFiles) {
  const std::string name = "no\x1b]0;x\x07\nsuch\xc2\x85" + std::string(3000, 'x') + "folder";
  expect_one_line(run_prosa({"inspect", "/" + name}), 3);
  expect_one_line(run_prosa({"chat", "hi", "--model", "/" + name}), 3);
  expect_one_line(run_prosa({"convert", "/" + name, "y" + name}), 3);
  expect_one_line(run_prosa({"no\x1b[31mcommand"}), 2);
  const HostileModel model;
  for (const char* key : {"model_type", "layer_types"}) {
    json config = json::parse(read_file(fs::path(PROSA_TINY_CHAT) / "config.json"));
    json& text = config.contains("text_config") && config["text_config"].contains(key) ? config["text_config"] : config;
    text[key] = key == std::string("model_type") ? json(kHostile) : json::array({kHostile});
    write_file(model.file("config.json"), config.dump());
    const Outcome outcome = run_prosa({"inspect", model.path()});
    if (outcome.exit_code == 0) continue;  // a model_type that nobody looks at
    expect_one_line(outcome, 4);
  }
  write_file(model.file("config.json"), "{\"" + kHostile + "\": ");
  expect_one_line(run_prosa({"inspect", model.path()}), 4);
}

TEST(CliPrintable, TemplatesTokensAndTheirErrors) {
  const HostileModel model;
  const std::string lines = json{{"messages", {{{"role", kHostile}, {"content", "x"}}}}}.dump() + "\n" +
                            json{{"messages", {{{"role", "user"}, {"content", kHostile}}}}}.dump() + "\n";
  const Outcome outcome = run_prosa({"template", model.path()}, lines);
  ASSERT_EQ(outcome.exit_code, 0) << printable(outcome.err);
  expect_safe(outcome);
  const std::string answer = outcome.out.substr(outcome.out.find('\n') + 1);
  EXPECT_THAT(json::parse(answer)["prompt"].get<std::string>(), HasSubstr(kHostile)) << "the model gets it as it is";
  expect_one_line(run_prosa({"tokenize", model.path()}, "{\"" + kHostile + "\n"), 5);
}

TEST(CliPrintable, ScriptsAndRepliesOnATerminal) {
  const HostileModel model;
  const std::string script = model.file("script");
  write_file(script, "say\x1b[2J\xe2\x80\xae\xc2\x9b\n");
  // Almost uniform: of so many tokens some are controls.
  const std::vector<std::string> words = {
      "chat", "--model",       model.path(), "--threads",         "1", "--script",     script, "--seed",
      "3",    "--temperature", "1000",       "--top-k",           "0", "--max-tokens", "400",  "--top-p",
      "1",    "--context",     "1000",       "--disable-thinking"};
  const Outcome piped = run_prosa(words);
  ASSERT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_GT(dangers_in(piped.out), 6U) << "a pipe gets the reply as it is, and this one has controls";
  const std::string screen = on_terminal(words);
  EXPECT_EQ(dangers_in(screen, true), 0U) << printable(screen);
  EXPECT_THAT(screen, HasSubstr("> say\\x1b[2J\\u202e\\x9b"));
  std::vector<std::string> with_json = words;
  with_json.emplace_back("--json");
  const Outcome as_json = run_prosa(with_json);
  ASSERT_EQ(as_json.exit_code, 0) << as_json.err;
  expect_safe(as_json);
  EXPECT_GT(dangers_in(json::parse(as_json.out)["reply"].get<std::string>()), 3U) << "programs get it as it is";
}

}  // namespace
}  // namespace prosa::test
