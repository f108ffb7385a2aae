// The commands for developers and scripts: measuring, converting, looking into a checkpoint, and the forms that
// comparison scripts drive.
//
// Registration only. They may use every part of prosa, the commands of src/cli nothing but the public headers; what the
// two share (exit codes, options, the terminal) lies in src/cli.
#pragma once

namespace CLI {
class App;
}

namespace prosa::tools {

/// Adds them to the program, in the order of its help.
void add_commands(CLI::App& app);

void add_inspect(CLI::App& app);
void add_bench(CLI::App& app);
void add_eval(CLI::App& app);
void add_forward(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_template(CLI::App& app);
void add_convert(CLI::App& app);
void add_synth(CLI::App& app);

}  // namespace prosa::tools
