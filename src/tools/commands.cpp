// The order of the developer commands in the program's help.
#include "tools/commands.h"

namespace prosa::tools {

void add_commands(CLI::App& app) {
  add_inspect(app);
  add_bench(app);
  add_eval(app);
  add_forward(app);
  add_tokenize(app);
  add_template(app);
  add_convert(app);
  add_synth(app);
}

}  // namespace prosa::tools
