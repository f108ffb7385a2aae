// Keeps what is typed ahead out of what is shown.
#pragma once

#include <termios.h>

namespace prosa::cli {

/// While it lives, what is typed on a terminal as standard input is not shown, and comes byte for byte: it waits for
/// whoever reads next. Ctrl-C still works. No effect in the background.
class QuietInput {
 public:
  QuietInput();
  ~QuietInput();
  QuietInput(const QuietInput&) = delete;
  QuietInput& operator=(const QuietInput&) = delete;

 private:
  bool quiet_ = false;
  termios before_ = {};
};

}  // namespace prosa::cli
