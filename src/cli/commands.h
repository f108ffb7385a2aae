// The program's product commands, and what all commands share: exit codes and the error for a wrong command line.
//
// The commands for developers and scripts are tools/commands.h. Each add_…() registers one subcommand whose callback
// does the work. Callbacks end normally (exit code 0) or throw: Error (exit code by its kind), UsageError,
// CLI::ParseError. Nothing else decides how the program ends.
#pragma once

#include <stdexcept>
#include <string>

#include "prosa/error.h"

namespace CLI {
class App;
}

namespace prosa::cli {

/// Documented in docs/reference/cli.md; scripts may rely on them.
enum ExitCode : int {
  exit_ok = 0,
  exit_unexpected = 1,  // a bug, out of memory
  exit_usage = 2,       // the command line itself is wrong
  exit_not_found = 3,   // a file, folder or model is not there, or can't be read or written
  exit_bad_model = 4,   // damaged, contradictory or unsupported checkpoint or tokenizer
  exit_bad_input = 5,   // prompt or data can't be used: empty, not UTF-8, longer than the context
  exit_interrupted = 130,
};

ExitCode exit_code_of(ErrorCode code) noexcept;

/// The command line can't be meant. what(): one line with the remedy.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void add_chat(CLI::App& app);
void add_choose(CLI::App& app);
void add_pull(CLI::App& app);
void add_cached(CLI::App& app);  // list, show, rm
void add_serve(CLI::App& app);   // only where the server is built
void add_voice(CLI::App& app);   // this and the next two only where the voice part is built
void add_wyoming(CLI::App& app);
void add_speak_text(CLI::App& app);

}  // namespace prosa::cli
