// Runs the program as a user would, and makes the models its tests need.
//
// PROSA_PROGRAM is the path of the built program, PROSA_EMULATOR what starts it in a cross build (empty otherwise).
// Invariant: a program that does not end within the limit is killed and fails the test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/synth.h"
#include "format/safetensors_writer.h"
#include "temp_folder.h"

namespace prosa::test {

struct Outcome {
  int exit_code = -1;  // 128 + signal when killed by one
  std::string out;
  std::string err;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("can't read " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("can't write " + path.string());
}

/// The words that start the program.
inline std::vector<std::string> program_words() {
  std::vector<std::string> words;
  std::istringstream emulator(PROSA_EMULATOR);
  for (std::string word; emulator >> word;) words.push_back(word);
  words.emplace_back(PROSA_PROGRAM);
  return words;
}

inline std::vector<char*> to_argv(std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return argv;
}

/// Exit code of a child of ours, or 128 + the signal that ended it.
inline int wait_for(pid_t child, std::chrono::seconds limit = std::chrono::seconds(240)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      throw std::runtime_error("the program did not end");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Any command, its standard input a file with `input`.
inline Outcome run_command(std::vector<std::string> words, const std::string& input = {}) {
  const TempFolder folder;
  const std::string in = folder.path() / "in";
  const std::string out = folder.path() / "out";
  const std::string err = folder.path() / "err";
  write_file(in, input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t child = 0;
  const int error = posix_spawnp(&child, words.front().c_str(), &actions, nullptr, to_argv(words).data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("can't start " + words.front());
  Outcome outcome;
  outcome.exit_code = wait_for(child);
  outcome.out = read_file(out);
  outcome.err = read_file(err);
  return outcome;
}

/// prosa ARGUMENTS…
inline Outcome run_prosa(const std::vector<std::string>& arguments, const std::string& input = {}) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run_command(words, input);
}

/// The program's words and `arguments` for a shell line, each quoted.
inline std::string shell_words(const std::vector<std::string>& arguments) {
  std::string line;
  std::vector<std::string> words = program_words();
  words.insert(words.end(), arguments.begin(), arguments.end());
  for (const std::string& word : words) line += "'" + word + "' ";
  return line;
}

/// A folder with everything chat needs: the embedded model's tokenizer and template, and synthetic weights that
/// speak no language but never tire.
inline void make_chat_model(const std::filesystem::path& folder) {
  const std::filesystem::path text_files = std::filesystem::path(PROSA_SOURCE_DIR) / "models/prosa-mini";
  ModelConfig config = checkpoint::synth_preset("tiny");
  config.vocab_size = 12288;
  checkpoint::SynthOptions options;
  options.threads = 1;
  checkpoint::synthesize(config, folder, options);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
    std::filesystem::copy_file(text_files / name, folder / name);
  }
}

/// One such model for all tests of a program; it goes with the process.
inline const std::string& chat_model() {
  static const TempFolder folder;
  static const std::string model = [] {
    const std::filesystem::path path = folder.path() / "model";
    make_chat_model(path);
    return path.string();
  }();
  return model;
}

}  // namespace prosa::test
