// The completion scripts of three shells, out of the same rows.
#include "cli/completion.h"

#include <algorithm>

#include <fmt/core.h>
#include <fmt/format.h>

namespace prosa::cli {
namespace {

/// As one word of a shell, whatever it holds.
std::string shell_quoted(std::string_view text) {
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'') {
      word += "'\\''";
    } else {
      word += c;
    }
  }
  return word + "'";
}

std::string names_of(std::span<const CommandRow> table) {
  std::string names;
  for (const CommandRow& command : table.subspan(1)) names += (names.empty() ? "" : " ") + command.name;
  return names;
}

enum class Takes { nothing, choice, folder, file, model, text };

Takes takes(const OptionRow& option) {
  if (option.value.empty() && !option.positional) return Takes::nothing;
  if (!option.choices.empty()) return Takes::choice;
  if (option.value == "FOLDER") return Takes::folder;
  if (option.value == "FILE") return Takes::file;
  // Models are folders or short names. The other positionals are files, commands and prompts, where files do no harm.
  if (option.positional || option.about.find("short name") != std::string::npos) return Takes::model;
  return Takes::text;
}

std::string bash_options(const CommandRow& command) {
  std::string names;
  for (const OptionRow& option : command.options) {
    if (!option.positional) names += fmt::format("{} ", fmt::join(option.names, " "));
  }
  if (!names.empty()) names.pop_back();
  return names;
}

std::string bash_value(const OptionRow& option, const std::string& models) {
  switch (takes(option)) {
    case Takes::choice:
      return fmt::format("offer -W {}", shell_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
    case Takes::folder: return "offer -d";
    case Takes::file: return "offer -f";
    case Takes::model: return fmt::format("offer -d -W {}", shell_quoted(models));
    default: return ":";  // a text: nothing to offer
  }
}

std::string bash(std::span<const CommandRow> table, const std::string& models) {
  std::string script = fmt::format(
      "# bash completion of prosa; written by: prosa completion bash\n"
      "_prosa() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command=${{COMP_WORDS[1]}}\n"
      "  COMPREPLY=()\n"
      "  offer() {{\n"
      "    mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$word\")\n"
      "    compopt -o filenames 2>/dev/null\n"
      "  }}\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    offer -W {}\n"
      "    return\n"
      "  fi\n"
      "  case $command:$before in\n",
      shell_quoted(names_of(table) + " " + bash_options(table.front())));
  for (const CommandRow& command : table.subspan(1)) {
    for (const OptionRow& option : command.options) {
      if (option.positional || takes(option) == Takes::nothing) continue;
      std::string pattern;
      for (const std::string& name : option.names) pattern += (pattern.empty() ? "" : "|") + command.name + ":" + name;
      script += fmt::format("    {}) {}; return ;;\n", pattern, bash_value(option, models));
    }
  }
  script += "  esac\n  case $command:$word in\n";
  for (const CommandRow& command : table.subspan(1)) {
    script += fmt::format("    {}:-*) offer -W {} ;;\n", command.name, shell_quoted(bash_options(command)));
    const auto first = std::ranges::find_if(command.options, &OptionRow::positional);
    if (command.name == "help") {
      script += fmt::format("    help:*) offer -W {} ;;\n", shell_quoted(names_of(table)));
    } else if (first != command.options.end()) {
      script += fmt::format("    {}:*) {} ;;\n", command.name,
                            takes(*first) == Takes::model ? fmt::format("offer -f -W {}", shell_quoted(models))
                                                          : bash_value(*first, models));
    }
  }
  return script + "  esac\n}\ncomplete -F _prosa prosa\n";
}

/// In the brackets of a specification of _arguments.
std::string zsh_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string zsh_value(const OptionRow& option, const std::string& models) {
  switch (takes(option)) {
    case Takes::choice: return fmt::format("({})", fmt::join(option.choices, " "));
    case Takes::folder: return "_files -/";
    case Takes::file: return "_files";
    case Takes::model: return fmt::format("{{_alternative \"names:short name:({})\" \"files:file:_files\"}}", models);
    default: return " ";
  }
}

std::string zsh(std::span<const CommandRow> table, const std::string& models) {
  std::string script =
      "#compdef prosa\n"
      "# zsh completion of prosa; written by: prosa completion zsh\n"
      "_prosa() {\n"
      "  if (( CURRENT == 2 )); then\n"
      "    local -a commands=(\n";
  for (const CommandRow& command : table.subspan(1)) {
    script += fmt::format("      {}\n", shell_quoted(command.name + ":" + zsh_text(command.about)));
  }
  script +=
      "    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $command in\n";
  for (const CommandRow& command : table.subspan(1)) {
    script += fmt::format("    {})\n      _arguments", command.name);
    for (const OptionRow& option : command.options) {
      if (option.positional) continue;
      const std::string value =
          option.value.empty() ? "" : fmt::format(":{}:{}", option.value, zsh_value(option, models));
      for (const std::string& name : option.names) {
        script += fmt::format(
            " \\\n        {}",
            shell_quoted(fmt::format("{}{}{}[{}]{}", option.repeatable ? "*" : "", name,
                                     value.empty() || name[1] != '-' ? "" : "=", zsh_text(option.about), value)));
      }
    }
    const auto first = std::ranges::find_if(command.options, &OptionRow::positional);
    if (command.name == "help") {
      script += fmt::format(" \\\n        {}", shell_quoted(fmt::format("1:command:({})", names_of(table))));
    } else if (first != command.options.end()) {
      script +=
          fmt::format(" \\\n        {}",
                      shell_quoted(fmt::format("*:{}:{}", zsh_text(first->names.front()), zsh_value(*first, models))));
    }
    script += "\n      ;;\n";
  }
  // Loaded by its name from $fpath it is the function itself; sourced, it has to be made known.
  return script +
         "  esac\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _prosa ]; then _prosa \"$@\"; else compdef _prosa prosa; fi\n";
}

std::string fish(std::span<const CommandRow> table, const std::string& models) {
  std::string script =
      "# fish completion of prosa; written by: prosa completion fish\n"
      "complete -c prosa -n __fish_use_subcommand -f\n";
  for (const OptionRow& option : table.front().options) {
    for (const std::string& name : option.names) {
      if (name.starts_with("--")) {
        script += fmt::format("complete -c prosa -n __fish_use_subcommand -l {} -d {}\n", name.substr(2),
                              shell_quoted(option.about));
      }
    }
  }
  for (const CommandRow& command : table.subspan(1)) {
    script += fmt::format("complete -c prosa -n __fish_use_subcommand -a {} -d {}\n", command.name,
                          shell_quoted(command.about));
    const std::string where = shell_quoted("__fish_seen_subcommand_from " + command.name);
    for (const OptionRow& option : command.options) {
      if (option.positional) {
        if (command.name == "help") {
          script += fmt::format("complete -c prosa -n {} -f -a {}\n", where, shell_quoted(names_of(table)));
        } else if (takes(option) == Takes::model) {
          script += fmt::format("complete -c prosa -n {} -a {}\n", where, shell_quoted(models));
        } else if (takes(option) == Takes::choice) {
          script += fmt::format("complete -c prosa -n {} -f -a {}\n", where,
                                shell_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
        }
        continue;
      }
      std::string line = fmt::format("complete -c prosa -n {}", where);
      for (const std::string& name : option.names) {
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      switch (takes(option)) {
        case Takes::nothing: break;
        case Takes::choice: line += " -x -a " + shell_quoted(fmt::format("{}", fmt::join(option.choices, " "))); break;
        case Takes::folder: line += " -x -a '(__fish_complete_directories)'"; break;
        case Takes::file: line += " -r -F"; break;
        case Takes::model: line += " -r -F -a " + shell_quoted(models); break;
        case Takes::text: line += " -x"; break;
      }
      script += line + " -d " + shell_quoted(option.about) + "\n";
    }
  }
  return script;
}

}  // namespace

std::string completion_script(std::string_view shell, std::span<const CommandRow> table,
                              std::span<const std::string> models) {
  const std::string names = fmt::format("{}", fmt::join(models, " "));
  if (shell == "bash") return bash(table, names);
  if (shell == "zsh") return zsh(table, names);
  return fish(table, names);
}

}  // namespace prosa::cli
