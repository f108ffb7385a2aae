// prosa completion, prosa man: what a shell and man(1) know of the program, written from the table that --help shows.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "base/atomic_file.h"
#include "cli/command_table.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/man_page.h"
#include "cli/shell_files.h"
#include "cli/terminal.h"
#include "prosa/hub_cache.h"

namespace prosa::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> short_names() {
  std::vector<std::string> names;
  for (const ModelAlias& alias : model_aliases()) names.emplace_back(alias.alias);
  return names;
}

void write_file(const fs::path& file, const std::string& text) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) throw Error(ErrorCode::io, "cannot make it: " + error.message(), file.parent_path().string());
  replace_file(file.string(), text, FileMode::shared);
}

/// The places where the shells and man(1) look below a prefix.
void write_all(const fs::path& share, const std::vector<CommandRow>& table) {
  write_file(share / "bash-completion/completions/prosa", completion_script("bash", table, short_names()));
  write_file(share / "zsh/_prosa", completion_script("zsh", table, short_names()));
  write_file(share / "fish/vendor_completions.d/prosa.fish", completion_script("fish", table, short_names()));
  for (const CommandRow& row : table) {
    const std::string name = row.name.empty() ? "prosa" : "prosa-" + row.name;
    write_file(share / "man/man1" / (name + ".1"), man_page(row, table));
  }
}

void print_man(const CLI::App& app, const std::string& command) {
  const std::vector<CommandRow> table = command_table(app);
  const auto row = std::ranges::find(table, command, &CommandRow::name);
  if (row == table.end()) {
    throw UsageError(fmt::format("there is no command \"{}\" (see prosa --help)", command));
  }
  print_output(man_page(*row, table));
}

}  // namespace

void add_shell_files(CLI::App& app) {
  struct Arguments {
    std::string shell;
    std::string command;
    std::string folder;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* completion = app.add_subcommand("completion", "what a shell completes behind prosa, as its script");
  completion->add_option("SHELL", arguments->shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->footer(
      "An installed prosa has it already. For this shell alone:\n"
      "  source <(prosa completion bash)     or zsh\n"
      "  prosa completion fish | source");
  completion->callback(
      [&app, arguments] { print_output(completion_script(arguments->shell, command_table(app), short_names())); });

  CLI::App* man = app.add_subcommand("man", "the manual page of a command, or of prosa, in the form of man(1)");
  man->add_option("COMMAND", arguments->command, "one of the commands");
  man->add_option("--all", arguments->folder, "write every page and every shell's completion below FOLDER, as share/")
      ->type_name("FOLDER");
  man->footer("To read one that is not installed: prosa man chat | man -l -");
  man->callback([&app, arguments] {
    if (arguments->folder.empty()) return print_man(app, arguments->command);
    if (!arguments->command.empty()) throw UsageError("--all and a command exclude each other");
    write_all(arguments->folder, command_table(app));
  });
}

}  // namespace prosa::cli
