// Standard output and what a terminal adds to it: colour, a loading line, reading all of standard input.
//
// All that the program prints goes through here. Names from files and servers are made printable (prosa/text.h) by
// whoever prints them, wherever they go; what is left, the model's replies first of all, is made printable when
// standard output is a terminal, and comes as it is into a pipe or file. Invariants: a result that could not be written
// is an Error(io), never lost silently; a terminal gets no control character but the program's own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace prosa::cli {

/// To stdout; on a terminal printable() of it. Error(io) when it does not take the bytes.
void print_output(std::string_view text);
/// The program's own colours, to stdout.
void style_output(std::string_view sequence);
/// A document and a newline, with printable_json(). `indent` < 0: on one line.
void print_json(const nlohmann::ordered_json& document, int indent);
/// print_output and a flush: a reader sees the text now.
void stream_output(std::string_view text);
void flush_output();

bool is_terminal(std::FILE* stream);
/// stdout is a terminal, and neither NO_COLOR nor TERM=dumb asks for plain text.
bool use_color();

/// A line about the run to stderr, printable and in one piece.
void tell(std::string_view line);

/// Each of these (ModelInfo::warnings) once in the life of the process, to stderr.
void tell_warnings(std::span<const std::string> warnings);

/// All of stdin. Error(invalid_argument) beyond `limit` bytes.
std::string read_standard_input(size_t limit);
/// One line of `stream` without its newline; nothing at the end. Errors, with `where`: invalid_argument beyond `limit`
/// bytes, io (a folder, a file that can't be read: no end of the input).
std::optional<std::string> read_input_line(std::FILE* stream, size_t limit, const std::string& where);

/// "12.3 MiB", for people.
std::string human_bytes(double bytes);

/// A line on stderr while something takes long: only on a terminal and only after 0.3 s. Gone when the object is.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(double fraction, std::string_view what);
  void clear();

 private:
  bool enabled_;
  bool shown_ = false;
  int tick_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

/// News of long work: a line that rewrites itself on a terminal, else a line of its own every two seconds.
class ProgressNews {
 public:
  void show(double fraction, std::string_view on_terminal, std::string_view in_log);

 private:
  bool terminal_ = is_terminal(stderr);
  ProgressLine line_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

}  // namespace prosa::cli
