// Standard output, standard input and the loading line.
#include "cli/terminal.h"

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include <unistd.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "prosa/error.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

[[noreturn]] void output_failed() {
  throw Error(ErrorCode::io, fmt::format("cannot write: {}", std::strerror(errno)), "standard output");
}

}  // namespace

void style_output(std::string_view sequence) {
  if (std::fwrite(sequence.data(), 1, sequence.size(), stdout) != sequence.size()) output_failed();
}

void print_output(std::string_view text) {
  static const bool terminal = is_terminal(stdout);
  if (terminal) return style_output(printable(text));
  style_output(text);
}

void print_json(const nlohmann::ordered_json& document, int indent) {
  using Handler = nlohmann::ordered_json::error_handler_t;
  stream_output(printable_json(document.dump(indent, ' ', false, Handler::replace)) + "\n");
}

void tell(std::string_view line) {
  std::fputs((printable_line(line) + "\n").c_str(), stderr);  // where that can't be written, the exit code has to do
}

void tell_warnings(std::span<const std::string> warnings) {
  static std::set<std::string> told;
  for (const std::string& warning : warnings) {
    if (told.insert(warning).second) tell("prosa: warning: " + warning);
  }
}

void stream_output(std::string_view text) {
  print_output(text);
  flush_output();
}

void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) output_failed();
}

bool is_terminal(std::FILE* stream) { return isatty(fileno(stream)) != 0; }

bool use_color() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (term != nullptr && std::string_view(term) == "dumb") return false;
  return is_terminal(stdout);
}

std::string read_standard_input(size_t limit) {
  std::string text;
  std::array<char, 65536> buffer{};
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), stdin)) {
    text.append(buffer.data(), count);
    if (text.size() > limit) {
      throw Error(ErrorCode::invalid_argument, fmt::format("longer than {} bytes", limit), "standard input");
    }
  }
  if (std::ferror(stdin) != 0) {
    throw Error(ErrorCode::io, fmt::format("cannot read: {}", std::strerror(errno)), "standard input");
  }
  return text;
}

std::optional<std::string> read_input_line(std::FILE* stream, size_t limit, const std::string& where) {
  std::string line;
  int c = 0;
  while ((c = getc_unlocked(stream)) != EOF && c != '\n') {
    if (line.size() == limit)
      throw Error(ErrorCode::invalid_argument, fmt::format("a line is longer than {} bytes", limit), where);
    line += static_cast<char>(c);
  }
  if (c == EOF && std::ferror(stream) != 0) {
    throw Error(ErrorCode::io, fmt::format("cannot read: {}", std::strerror(errno)), where);
  }
  if (c == EOF && line.empty()) return std::nullopt;
  return line;
}

std::string human_bytes(double bytes) {
  constexpr std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

ProgressLine::ProgressLine() : enabled_(is_terminal(stderr)), start_(std::chrono::steady_clock::now()), last_(start_) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(double fraction, std::string_view what) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (!enabled_ || now - start_ < 300ms || (shown_ && now - last_ < 80ms)) return;
  constexpr std::string_view spinner = "|/-\\";
  fmt::print(stderr, "\r\033[K{} {} {:.0f} %", spinner[static_cast<size_t>(tick_++) % spinner.size()],
             printable_line(what), std::floor(100 * fraction));
  std::fflush(stderr);
  shown_ = true;
  last_ = now;
}

void ProgressLine::clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

void ProgressNews::show(double fraction, std::string_view on_terminal, std::string_view in_log) {
  if (terminal_) return line_.show(fraction, on_terminal);
  constexpr std::chrono::seconds kPause{2};
  const auto now = std::chrono::steady_clock::now();
  if (now - told_ < kPause) return;
  told_ = now;
  tell(in_log);
}

}  // namespace prosa::cli
