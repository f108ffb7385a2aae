// The program: finds the command, runs it, and turns whatever it throws into one line on stderr and an exit code.
//
// Not here: what a command does. Invariant: stdout carries results only; everything about the run goes to stderr.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "cli/check_values.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/shell_files.h"
#include "cli/terminal.h"
#include "tools/commands.h"

namespace prosa::cli {

ExitCode exit_code_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::not_found:
    case ErrorCode::network:
    case ErrorCode::access_denied:
    case ErrorCode::busy:  // of the program's own making only across processes: a file that another one holds
    case ErrorCode::io: return exit_not_found;
    case ErrorCode::bad_checkpoint:
    case ErrorCode::shape_mismatch:
    case ErrorCode::unsupported:
    case ErrorCode::bad_tokenizer:
    case ErrorCode::bad_session: return exit_bad_model;
    case ErrorCode::invalid_argument:
    case ErrorCode::bad_template:
    case ErrorCode::context_exceeded: return exit_bad_input;
    case ErrorCode::cancelled: return exit_interrupted;
    case ErrorCode::not_loaded:
    case ErrorCode::out_of_memory: return exit_unexpected;
  }
  return exit_unexpected;
}

namespace {

/// Where there is no /dev/null: an end to read from that nobody writes to. Writing to it fails, and is reported.
void occupy_with_pipe(int descriptor) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0 || (ends[0] != descriptor && dup2(ends[0], descriptor) < 0)) {
    _exit(exit_unexpected);
  }
  for (const int end : ends) {
    if (end != descriptor) close(end);
  }
}

/// A closed standard descriptor must not be reused by the next file opened: results would be written into it.
void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    // stdout read-only: writing to it fails and is reported, as it should be for a closed one.
    const int opened = open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened == descriptor) continue;
    if (opened >= 0) close(opened);
    occupy_with_pipe(descriptor);
  }
}

/// One line, whatever the message holds.
int fail(ExitCode code, std::string_view what) {
  tell(fmt::format("prosa: {}", what));
  return code;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

/// Null where there is none of that name.
const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  const auto commands = commands_of(app);
  const auto found =
      std::ranges::find_if(commands, [&](const CLI::App* command) { return command->get_name() == name; });
  return found == commands.end() ? nullptr : *found;
}

/// How many letters have to be typed otherwise to make one of the other (Levenshtein).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// "there is no command "caht"; did you mean chat?"
[[noreturn]] void fail_no_command(const CLI::App& app, const std::string& word) {
  constexpr size_t kMaxWord = 40;
  std::string nearest;
  size_t least = word.size() <= kMaxWord ? word.size() / 3 + 1 : 0;
  for (const CLI::App* command : commands_of(app)) {
    const size_t apart = word.size() <= kMaxWord ? distance(word, command->get_name()) : kMaxWord;
    if (apart > least || (apart == least && !nearest.empty())) continue;
    nearest = command->get_name();
    least = apart;
  }
  throw UsageError(fmt::format("there is no command \"{}\"{} (see prosa --help)", word.substr(0, kMaxWord),
                               nearest.empty() ? "" : "; did you mean " + nearest + "?"));
}

/// prosa help [COMMAND].
void add_help(CLI::App& app) {
  const auto word = std::make_shared<std::string>();
  CLI::App* help = app.add_subcommand("help", "the help of a command, or this");
  help->add_option("COMMAND", *word, "one of the commands");
  help->callback([&app, word] {
    if (word->empty()) {  // app.help() would be that of the command at hand
      return print_output(app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal));
    }
    const CLI::App* command = find_command(app, *word);
    if (command == nullptr) fail_no_command(app, *word);
    print_output(command->help("prosa"));
  });
}

int parse_and_run(CLI::App& app, int argc, char** argv) {
  if (argc < 2) {
    print_output(app.help());
    flush_output();
    return exit_ok;
  }
  const std::string first = argv[1];
  if (!first.starts_with('-') && find_command(app, first) == nullptr) fail_no_command(app, first);
  try {
    app.parse(argc, argv);
    flush_output();
    return exit_ok;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {  // --help, --version
      app.exit(error);
      flush_output();
      return exit_ok;
    }
    std::string command = "prosa";
    for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
    return fail(exit_usage, fmt::format("{} (see {} --help)", error.what(), command));
  }
}

int run(int argc, char** argv) {
  CLI::App app("prosa: an on-device chat runtime for Qwen3.5 models", "prosa");
  app.set_version_flag("--version", "prosa " PROSA_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "MODEL is a folder with a checkpoint, a hub name (owner/name[:subfolder][@revision]; downloaded when the cache\n"
      "lacks it), a short name for one (prosa list), or nothing: the embedded model.\n"
      "Exit codes: 0 ok, 1 unexpected, 2 usage, 3 not found or not readable, 4 bad model, 5 bad input, 130 "
      "interrupted.\n"
      "\n"
      "Examples:\n"
      "  prosa chat                        talk with the embedded model\n"
      "  prosa chat \"What is Swift?\"       one answer\n"
      "  prosa pull qwen3.5-0.8b           download a model; prosa list shows these names\n"
      "  prosa inspect MODEL               what a checkpoint holds\n"
      "  prosa bench MODEL --prompt 512    speed against this machine's limits");
  add_chat(app);
  add_choose(app);
  add_pull(app);
  add_cached(app);
#ifdef PROSA_WITH_SERVER
  add_serve(app);
#endif
#ifdef PROSA_WITH_VOICE
  add_voice(app);
  add_wyoming(app);
  add_speak_text(app);
#endif
  tools::add_commands(app);
  add_shell_files(app);
  add_help(app);
  check_values(app);
  try {
    return parse_and_run(app, argc, argv);
  } catch (const UsageError& error) {
    return fail(exit_usage, error.what());
  } catch (const Error& error) {
    return fail(exit_code_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(exit_unexpected, "out of memory (use a smaller --context or a smaller model)");
  } catch (const std::exception& error) {
    return fail(exit_unexpected, fmt::format("unexpected: {}", error.what()));
  }
}

}  // namespace
}  // namespace prosa::cli

int main(int argc, char** argv) {
  prosa::cli::occupy_standard_descriptors();
  prosa::cli::interrupt::install();
  return prosa::cli::run(argc, argv);
}
