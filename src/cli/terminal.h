// Standard output and what a terminal adds to it: colour, a loading line, reading all of standard input.
//
// Invariant: a result that could not be written is an Error(io), never lost silently.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace prosa::cli {

/// To stdout. Error(io) when it does not take the bytes.
void print_output(std::string_view text);
/// print_output and a flush: a reader sees the text now.
void stream_output(std::string_view text);
void flush_output();

bool is_terminal(std::FILE* stream);
/// stdout is a terminal, and neither NO_COLOR nor TERM=dumb asks for plain text.
bool use_color();

/// A terminal must not obey the model: control characters other than newline and tab are dropped.
std::string without_controls(std::string_view text);

/// All of stdin. Error(invalid_argument) beyond `limit` bytes.
std::string read_standard_input(size_t limit);
/// One line of stdin without its newline; nothing at the end. Error(invalid_argument) beyond `limit` bytes.
std::optional<std::string> read_input_line(std::FILE* stream, size_t limit);

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
