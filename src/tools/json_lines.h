// JSON lines in, JSON lines out: the form of the commands that scripts drive.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

namespace prosa::tools {

/// Reads stdin line by line (blank lines are skipped); each must be an object. `answer` gets it with its place
/// ("line 3") and gives the object for one line on stdout, written at once.
/// Error(invalid_argument) for anything else; lines before it have been answered.
void for_each_json_line(
    const std::function<nlohmann::ordered_json(const nlohmann::ordered_json& line, const std::string& where)>& answer);

}  // namespace prosa::tools
