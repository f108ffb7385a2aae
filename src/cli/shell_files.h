// The commands that write what a shell and man(1) know of the program.
#pragma once

namespace CLI {
class App;
}

namespace prosa::cli {

void add_shell_files(CLI::App& app);  // completion, man

}  // namespace prosa::cli
