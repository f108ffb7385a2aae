// The program: finds the command, runs it, and turns whatever it throws into one line on stderr and an exit code.
//
// Not here: what a command does. Invariant: stdout carries results only; everything about the run goes to stderr.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "cli/check_values.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
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

int parse_and_run(CLI::App& app, int argc, char** argv) {
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
      "lacks it), or nothing: the embedded model.\n"
      "Exit codes: 0 ok, 1 unexpected, 2 usage, 3 not found or not readable, 4 bad model, 5 bad input, 130 "
      "interrupted.\n"
      "\n"
      "Examples:\n"
      "  prosa chat                        talk with the embedded model\n"
      "  prosa chat \"What is Swift?\"       one answer\n"
      "  prosa pull owner/name             download a model\n"
      "  prosa inspect MODEL               what a checkpoint holds\n"
      "  prosa bench MODEL --prompt 512    speed against this machine's limits");
  add_chat(app);
  add_pull(app);
#ifdef PROSA_WITH_VOICE
  add_voice(app);
  add_wyoming(app);
  add_speak_text(app);
#endif
  tools::add_commands(app);
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
