// The program on a (pseudo) terminal: what a user types, and what the terminal gets to show.
//
// It shows bytes, not a screen: cursor movements stand in them as they were written.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cli_process.h"

namespace prosa::test {

/// The program on a terminal of its own.
class Terminal {
 public:
  /// `state`: where the history is; "": a folder of its own.
  /// `columns` 0: a terminal that does not say how wide it is.
  explicit Terminal(std::vector<std::string> words, std::filesystem::path state = {}, int columns = 0)
      : state_(state.empty() ? own_.path() : std::move(state)) {
    winsize size = {};
    size.ws_col = static_cast<unsigned short>(columns);
    size.ws_row = columns > 0 ? 24 : 0;
    child_ = forkpty(&master_, nullptr, nullptr, &size);
    if (child_ == 0) {
      setenv("TERM", "xterm", 1);
      setenv("XDG_STATE_HOME", state_.c_str(), 1);
      unsetenv("NO_COLOR");
      const std::vector<char*> argv = to_argv(words);
      execvp(argv.front(), argv.data());
      _exit(127);
    }
    if (child_ < 0) throw std::runtime_error("no pseudo terminal");
  }
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(std::string_view text) {
    ASSERT_EQ(write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  /// Another width, as when its window is changed.
  void resize(int columns) {
    winsize size = {};
    size.ws_col = static_cast<unsigned short>(columns);
    size.ws_row = 24;
    ASSERT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
  }

  /// Reads until `text` was shown (after what earlier calls found); false when it does not come.
  bool shows(std::string_view text, std::chrono::seconds limit = std::chrono::seconds(60)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (true) {
      const size_t at = screen_.find(text, seen_);
      if (at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !read_some(left)) return false;
    }
  }
  /// At least `bytes` more than what was found so far.
  bool shows_more(size_t bytes) {
    while (screen_.size() < seen_ + bytes) {
      if (!read_some()) return false;
    }
    seen_ = screen_.size();
    return true;
  }
  int exit_code() {
    while (read_some()) {
    }
    const pid_t child = std::exchange(child_, -1);
    return wait_for(child);
  }
  [[nodiscard]] const std::string& screen() const { return screen_; }
  [[nodiscard]] std::filesystem::path history() const { return state_ / "prosa/history"; }

 private:
  bool read_some(std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    pollfd ready = {master_, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(limit.count())) <= 0) return false;
    char buffer[4096];
    const ssize_t count = read(master_, buffer, sizeof buffer);
    if (count <= 0) return false;
    screen_.append(buffer, static_cast<size_t>(count));
    return true;
  }

  TempFolder own_;
  std::filesystem::path state_;
  int master_ = -1;
  pid_t child_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

}  // namespace prosa::test
