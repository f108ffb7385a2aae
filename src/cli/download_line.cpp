// Drawing a download.
#include "cli/download_line.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/core.h>

#include "cli/terminal.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kPlainInterval = 10s;
constexpr size_t kMinBarCells = 8;

size_t terminal_width() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

double fraction_of(const DownloadProgress& progress) {
  if (progress.total_bytes <= 0) return 0;
  return static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes);
}

std::string time_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(std::min(seconds, 1e9)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

/// "45 % of 400.0 MiB, 92.1 MiB/s, 3 s left"
std::string numbers(const DownloadProgress& progress) {
  std::string text = fmt::format("{:.0f} % of {}", std::floor(100 * fraction_of(progress)),
                                 human_bytes(static_cast<double>(progress.total_bytes)));
  if (progress.bytes_per_second > 0) text += fmt::format(", {}/s", human_bytes(progress.bytes_per_second));
  if (progress.seconds_left > 0) text += fmt::format(", {} left", time_text(progress.seconds_left));
  return text;
}

/// A name from a server, with its end rather than its beginning when it is too long.
std::string short_name(std::string_view name, size_t width) {
  std::string text = printable_line(name);
  if (text.size() <= width) return text;
  size_t begin = text.size() - width + 3;
  while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xc0U) == 0x80) ++begin;  // whole characters
  text = "..." + text.substr(begin);
  return text;
}

}  // namespace

DownloadLine::DownloadLine(std::string name) : name_(std::move(name)), terminal_(is_terminal(stderr)) {}

DownloadLine::~DownloadLine() { clear(); }

void DownloadLine::clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

void DownloadLine::show(const DownloadProgress& progress) {
  if (!progress.notice.empty()) {
    clear();
    tell(fmt::format("prosa: {}", progress.notice));
    return;
  }
  if (progress.total_bytes == 0) return;
  if (!announced_) {
    tell(fmt::format("prosa: downloading {} (Ctrl-C keeps what has come)", name_));
    announced_ = true;
  }
  if (terminal_) {
    show_bar(progress);
  } else {
    show_plain(progress);
  }
}

void DownloadLine::show_plain(const DownloadProgress& progress) {
  const auto now = Clock::now();
  if (progress.file == file_ && now - last_ < kPlainInterval) return;
  file_ = progress.file;
  last_ = now;
  tell(fmt::format("prosa: {}: {}", progress.file, numbers(progress)));
}

void DownloadLine::show_bar(const DownloadProgress& progress) {
  const size_t width = terminal_width() - 1;
  const std::string right = numbers(progress);
  const std::string left = short_name(progress.file, 28);
  std::string line = left + "  " + right;
  if (line.size() + 5 + kMinBarCells <= width) {
    const size_t cells = std::min<size_t>(40, width - line.size() - 5);
    const auto full = static_cast<size_t>(fraction_of(progress) * static_cast<double>(cells));
    line = left + "  [" + std::string(full, '#') + std::string(cells - full, '.') + "]  " + right;
  }
  line.resize(std::min(line.size(), width));
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace prosa::cli
