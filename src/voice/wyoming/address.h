// Where a Wyoming program is: tcp://HOST:PORT, unix:///PATH, or stdio:COMMAND, which is started and spoken to through
// its standard input and output.
//
// A COMMAND is words, not a line for a shell: spaces separate, '…' keeps everything as it stands, "…" keeps everything
// but \" and \\, and outside of quotes a backslash keeps the character after it. Variables, wildcards, ~, pipes and
// semicolons mean nothing special. The first word is looked up in PATH.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace prosa::wyoming {

struct Address {
  enum class Kind { tcp, unix_socket, child };
  Kind kind = Kind::tcp;
  std::string text;                // as it was given, for messages
  std::string host;                // tcp
  uint16_t port = 0;               // tcp; 0: any, where one listens
  std::string path;                // unix_socket
  std::vector<std::string> words;  // child: at least one
};

/// Whether `name` is meant as an address rather than as the name of a built-in engine.
bool is_address(std::string_view name) noexcept;
/// Error(invalid_argument) says what is wrong and what an address looks like.
Address parse_address(const std::string& text);
/// The words of a COMMAND. Error(invalid_argument): none, or a quote that is not closed.
std::vector<std::string> split_command(std::string_view command);

}  // namespace prosa::wyoming
