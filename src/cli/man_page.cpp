// Rows of the command table as roff.
#include "cli/man_page.h"

#include <algorithm>
#include <string_view>

#include <fmt/core.h>
#include <fmt/format.h>

namespace prosa::cli {
namespace {

/// A line of text in which nothing is a request or an escape. A minus stands for itself, so that it can be copied.
std::string text_line(std::string_view text) {
  std::string escaped;
  if (text.starts_with('.') || text.starts_with('\'')) escaped += "\\&";
  for (const char c : text) {
    switch (c) {
      case '\\': escaped += "\\e"; break;
      case '-': escaped += "\\-"; break;
      case '\n': escaped += ' '; break;
      default: escaped += c;
    }
  }
  return escaped;
}

/// Lines as they are: an example keeps its columns.
std::string text_lines(std::string_view text) {
  std::string lines = ".nf\n";
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines += text_line(text.substr(0, end)) + "\n";
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines + ".fi\n";
}

std::string value_of(const OptionRow& option) {
  if (option.value.empty()) return "";
  return fmt::format(
      " \\fI{}\\fR",
      text_line(option.choices.empty() ? option.value : fmt::format("{}", fmt::join(option.choices, "|"))));
}

std::string entry(const OptionRow& option) {
  std::string names;
  for (const std::string& name : option.names) {
    names += fmt::format("{}\\fB{}\\fR", names.empty() ? "" : ", ", text_line(name));
  }
  std::string about = option.about;
  if (!option.range.empty()) about += fmt::format(" ({})", option.range);
  if (!option.preset.empty()) about += fmt::format(" [{}]", option.preset);
  if (option.repeatable && about.find("(repeatable)") == std::string::npos && !option.positional) {
    about += " (repeatable)";
  }
  return fmt::format(".TP\n{}{}\n{}\n", names, option.positional ? "" : value_of(option), text_line(about));
}

std::string entries(const CommandRow& command) {
  std::string page;
  std::vector<std::string> groups;
  for (const OptionRow& option : command.options) {
    if (!option.positional && std::ranges::find(groups, option.group) == groups.end()) groups.push_back(option.group);
  }
  if (std::ranges::any_of(command.options, &OptionRow::positional)) {
    page += ".SH ARGUMENTS\n";
    for (const OptionRow& option : command.options) {
      if (option.positional) page += entry(option);
    }
  }
  page += ".SH OPTIONS\n";
  for (const std::string& group : groups) {
    if (group != "Options") page += fmt::format(".SS {}\n", text_line(group));
    for (const OptionRow& option : command.options) {
      if (!option.positional && option.group == group) page += entry(option);
    }
  }
  return page;
}

}  // namespace

std::string man_page(const CommandRow& command, std::span<const CommandRow> table) {
  const bool whole = command.name.empty();
  const std::string name = whole ? "prosa" : "prosa-" + command.name;
  std::string title = name;
  std::ranges::transform(title, title.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  std::string page = fmt::format(".\\\" written by: prosa man {}\n.TH {} 1 \"\" \"prosa {}\" \"User Commands\"\n",
                                 command.name, text_line(title), PROSA_VERSION);
  const std::string_view prefix = "prosa: ";
  std::string about = command.about;
  if (about.starts_with(prefix)) about.erase(0, prefix.size());
  page += fmt::format(".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n", text_line(name), text_line(about));
  if (whole) {
    page += ".B prosa\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH COMMANDS\n";
    for (const CommandRow& row : table.subspan(1)) {
      page += fmt::format(".TP\n\\fBprosa\\-{}\\fR(1)\n{}\n", text_line(row.name), text_line(row.about));
    }
  } else {
    page += fmt::format("\\fBprosa {}\\fR [\\fIOPTIONS\\fR]", text_line(command.name));
    for (const OptionRow& option : command.options) {
      if (option.positional)
        page += fmt::format(" [\\fI{}\\fR{}]", text_line(option.names.front()), option.repeatable ? " ..." : "");
    }
    page += "\n";
  }
  page += entries(command);
  if (!command.footer.empty()) page += ".SH NOTES\n" + text_lines(command.footer);
  page += whole ? ".SH FILES\n.TP\n\\fI~/.cache/huggingface/hub\\fR\nmodels of the hub, shared with Python's tools\n"
                  ".TP\n\\fI~/.local/state/prosa/history\\fR\nthe lines typed in conversations\n"
                : ".SH SEE ALSO\n.BR prosa (1)\n";
  return page;
}

}  // namespace prosa::cli
