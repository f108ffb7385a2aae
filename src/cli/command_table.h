// The program's commands and options as plain rows: what --help shows, for whoever writes it in another form.
//
// Read from the command line parser itself, so that no form can lag behind. Nothing here knows a shell or a manual.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace prosa::cli {

struct OptionRow {
  std::vector<std::string> names;    // "-h", "--help"; a positional has one without dashes
  std::string value;                 // what its value is called: FILE, INT; "": a flag, which takes none
  std::vector<std::string> choices;  // all that its value can be; none: anything
  std::string range;                 // "1 - 1024"; "": none
  std::string preset;                // its value where it is not given; "": the text says it
  std::string about;
  std::string group;  // the heading it stands under
  bool repeatable = false;
  bool positional = false;
};

struct CommandRow {
  std::string name;  // "chat"; "" of the program itself
  std::string about;
  std::string footer;  // lines, with the examples
  std::vector<OptionRow> options;
};

/// The program first, then each command in the order of its help.
std::vector<CommandRow> command_table(const CLI::App& app);

}  // namespace prosa::cli
