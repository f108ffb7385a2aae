// What every option of the program takes: numbers and names of files that can be meant.
//
// CLI11 reads "010" as 8 and "0x10" as 16, takes -1 for an unsigned number and NaN for one within any range, and cuts
// what is beyond 64 bits. Not here: the range of each option, which stands where the option is added.
#pragma once

namespace CLI {
class App;
}

namespace prosa::cli {

/// Once all options are added. Numbers are decimal, finite and within 64 bits (float: the range of a float). A FILE or
/// FOLDER (the option's type_name) is not empty: in a script that is a variable that nobody has set.
void check_values(CLI::App& app);

}  // namespace prosa::cli
