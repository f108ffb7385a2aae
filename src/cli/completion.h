// Shell completion: what bash, zsh and fish offer behind "prosa".
//
// Text from the table of commands alone; a completed word starts nothing.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/command_table.h"

namespace prosa::cli {

/// A script for one of "bash", "zsh" and "fish". `models`: the short names to offer where a model is taken.
std::string completion_script(std::string_view shell, std::span<const CommandRow> table,
                              std::span<const std::string> models);

}  // namespace prosa::cli
