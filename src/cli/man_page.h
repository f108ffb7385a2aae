// Manual pages: what --help says, for man(1).
#pragma once

#include <span>
#include <string>

#include "cli/command_table.h"

namespace prosa::cli {

/// The page of one row of the table, in the man macros: prosa(1) for the first, prosa-chat(1) for the command chat.
std::string man_page(const CommandRow& command, std::span<const CommandRow> table);

}  // namespace prosa::cli
