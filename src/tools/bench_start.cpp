// How long a process takes from its begin to the first token, and the memory it then holds: measured on processes of
// their own, because this one's buffers and warm pages would tell neither.
//
// The child is this program itself: it loads what a chat loads, feeds one token, writes a line and says what it holds.
// Invariant: every child is waited for, and one that fails makes the measurement fail.
#include "tools/bench.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "backend/backend.h"
#include "base/json.h"
#include "cli/terminal.h"
#include "prosa/error.h"
#include "runtime/load.h"
#include "tokenizer/tokenizer.h"

extern char** environ;

namespace prosa::tools {
namespace {

using nlohmann::json;

constexpr int kStarts = 5;
constexpr int64_t kContext = 2048;

/// This process, from /proc/self/status.
json memory_now() {
  json memory;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    for (const auto& [field, key] :
         {std::pair{"VmRSS:", "resident"}, {"VmHWM:", "peak"}, {"RssAnon:", "anonymous"}, {"RssFile:", "file"}}) {
      if (line.starts_with(field)) memory[key] = 1024 * std::stoll(line.substr(std::string(field).size()));
    }
  }
  return memory;
}

BenchMemory to_memory(const json& object) {
  return {object.value("resident", int64_t{0}), object.value("peak", int64_t{0}), object.value("anonymous", int64_t{0}),
          object.value("file", int64_t{0})};
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::io, what, "bench --start", "run the same command without --start to see its error");
}

/// A running child whose standard output is ours to read.
class Child {
 public:
  explicit Child(std::vector<std::string> words) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("can't make a pipe");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const int error = posix_spawn(&pid_, argv.front(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_.reset(fdopen(ends[0], "r"));
    if (error != 0) fail("can't start " + words.front());
  }
  ~Child() {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// One line, which has to be a JSON object.
  json read_object() {
    std::string line;
    for (int c = std::getc(output_.get()); c != EOF && c != '\n'; c = std::getc(output_.get())) {
      line += static_cast<char>(c);
    }
    if (line.empty()) fail("the process that was measured ended too early");
    json object = parse_json(line, {"the process that was measured"});
    if (!object.is_object()) fail("the process that was measured says something else");
    return object;
  }

  void wait() {
    int status = 0;
    if (waitpid(std::exchange(pid_, 0), &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      fail("the process that was measured failed");
    }
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  pid_t pid_ = 0;
  std::unique_ptr<std::FILE, Close> output_;
};

std::vector<std::string> child_words(const BenchArguments& arguments, const char* how) {
  char self[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  if (length <= 0 || length == static_cast<ssize_t>(sizeof self)) fail("can't find this program");
  std::vector<std::string> words = {std::string(self, static_cast<size_t>(length)),
                                    "bench",
                                    arguments.model,
                                    "--child",
                                    how,
                                    "--backend",
                                    arguments.load.backend};
  if (!arguments.load.isa.empty()) words.insert(words.end(), {"--isa", arguments.load.isa});
  words.insert(words.end(), {"--kv-bits", std::to_string(arguments.load.kv_bits)});
  if (arguments.load.activation_bits != 0)
    words.insert(words.end(), {"--activation-bits", std::to_string(arguments.load.activation_bits)});
  if (!arguments.threads.empty()) {
    words.insert(words.end(), {"--threads", std::to_string(*std::ranges::max_element(arguments.threads))});
  }
  return words;
}

}  // namespace

BenchStart measure_start(const BenchArguments& arguments) {
  struct Try {
    double seconds;
    json said;
  };
  std::vector<Try> tries;
  BenchStart start;
  for (int i = 0; i <= kStarts; ++i) {  // the first brings the files into the page cache and is not counted
    cli::tell(fmt::format("start, {} of {}", i, kStarts));
    const auto words = child_words(arguments, "token");
    const auto begin = Clock::now();
    Child child(words);
    json said = child.read_object();
    const double seconds = seconds_since(begin);
    child.wait();
    if (i == 0) continue;
    start.seconds.push_back(seconds);
    tries.push_back({seconds, std::move(said)});
  }
  std::ranges::sort(tries, {}, &Try::seconds);
  const json& middle = tries[tries.size() / 2].said;
  start.load_seconds = middle.value("load_s", 0.0);
  start.token_seconds = middle.value("token_s", 0.0);
  start.tokenizer = middle.value("tokenizer", false);
  start.after_load = to_memory(middle["after_load"]);
  start.after_token = to_memory(middle["after_token"]);

  cli::tell(fmt::format("memory with {} tokens", kContext));
  Child child(child_words(arguments, "context"));
  (void)child.read_object();
  const json filled = child.read_object();
  child.wait();
  start.context = filled.value("context", int64_t{0});
  start.after_context = to_memory(filled["after_context"]);
  return start;
}

void run_start_child(const BenchArguments& arguments) {
  const auto begin = Clock::now();
  LoadOptions options = arguments.load;
  options.threads = arguments.threads.empty() ? 0 : arguments.threads.front();
  options.context = kContext;
  const LoadedModel model = load_model(arguments.model, options);
  std::optional<Tokenizer> tokenizer;
  if (std::filesystem::exists(model.folder / "tokenizer.json")) tokenizer = Tokenizer::load(model.folder);
  json said = {{"load_s", seconds_since(begin)}, {"tokenizer", tokenizer.has_value()}, {"after_load", memory_now()}};

  const auto loaded = Clock::now();
  const auto state = model.backend->new_state(model.context);
  const std::vector<int32_t> tokens(static_cast<size_t>(model.context), 0);
  const auto feed = [&](std::span<const int32_t> some) {
    backend::Segment segment;
    segment.state = state.get();
    segment.tokens = some;
    model.backend->run({&segment, 1});
  };
  feed(std::span(tokens).first(1));
  said["token_s"] = seconds_since(loaded);
  said["after_token"] = memory_now();
  cli::stream_output(said.dump() + "\n");

  if (arguments.child != "context") return;
  if (tokens.size() > 1) feed(std::span(tokens).subspan(1));
  cli::stream_output(json{{"context", model.context}, {"after_context", memory_now()}}.dump() + "\n");
}

}  // namespace prosa::tools
