// JSON lines in, JSON lines out.
#include "tools/json_lines.h"

#include <cstdio>

#include <fmt/core.h>

#include "chat/message_json.h"
#include "cli/terminal.h"
#include "prosa/error.h"

namespace prosa::tools {

void for_each_json_line(
    const std::function<nlohmann::ordered_json(const nlohmann::ordered_json& line, const std::string& where)>& answer) {
  constexpr size_t kMaxLineBytes = size_t{64} << 20;
  int64_t number = 0;
  while (const auto line = cli::read_input_line(stdin, kMaxLineBytes, "standard input")) {
    ++number;
    if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("line {}", number);
    const nlohmann::ordered_json parsed = chat::parse_json(*line, where);
    if (!parsed.is_object()) throw Error(ErrorCode::invalid_argument, "not a JSON object", where);
    const nlohmann::ordered_json result = answer(parsed, where);
    cli::print_json(result, -1);
  }
}

}  // namespace prosa::tools
