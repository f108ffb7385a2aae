// The rows of the parser's commands and options.
#include "cli/command_table.h"

#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

namespace prosa::cli {
namespace {

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return parts;
}

/// CLI11 writes the checks of a value behind its type: "TEXT:{cpu,cuda}", "INT:INT in [1 - 1024]".
void read_type(std::string_view type, OptionRow& row) {
  const size_t end = type.find_first_of(": ");
  row.value = type.substr(0, end);
  const size_t brace = type.find('{');
  if (brace != std::string_view::npos) {
    row.choices = split(type.substr(brace + 1, type.find('}', brace) - brace - 1));
  }
  const size_t bracket = type.find('[');
  if (bracket != std::string_view::npos) row.range = type.substr(bracket + 1, type.find(']', bracket) - bracket - 1);
}

OptionRow row_of(const CLI::Option& option) {
  OptionRow row;
  for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  if (option.get_type_size() != 0) {
    read_type(option.get_type_name(), row);
    row.preset = option.get_default_str();
    row.repeatable = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  }
  row.about = option.get_description();
  row.group = option.get_group();
  return row;
}

CommandRow row_of(const CLI::App& command, std::string name) {
  CommandRow row;
  row.name = std::move(name);
  row.about = command.get_description();
  row.footer = command.get_footer();
  for (const CLI::Option* option : command.get_options({})) {
    if (option->get_group().empty()) continue;
    OptionRow as_option = row_of(*option);
    if (option->get_positional()) {  // which may have dashes, too: prosa voice MODEL, prosa voice --model MODEL
      OptionRow positional = as_option;
      positional.positional = true;
      positional.names = {option->get_name(true)};
      row.options.push_back(std::move(positional));
    }
    if (!as_option.names.empty()) row.options.push_back(std::move(as_option));
  }
  return row;
}

}  // namespace

std::vector<CommandRow> command_table(const CLI::App& app) {
  std::vector<CommandRow> table = {row_of(app, "")};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* any) { return !any->get_group().empty(); })) {
    table.push_back(row_of(*command, command->get_name()));
  }
  return table;
}

}  // namespace prosa::cli
