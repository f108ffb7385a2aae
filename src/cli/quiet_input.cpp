// The terminal's settings while nobody reads from it.
#include "cli/quiet_input.h"

#include <unistd.h>

namespace prosa::cli {
namespace {

bool in_foreground() { return isatty(STDIN_FILENO) != 0 && tcgetpgrp(STDIN_FILENO) == getpgrp(); }

}  // namespace

QuietInput::QuietInput() {
  if (!in_foreground() || tcgetattr(STDIN_FILENO, &before_) != 0) return;
  termios quiet = before_;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
  quiet.c_cc[VMIN] = 1;
  quiet.c_cc[VTIME] = 0;
  quiet_ = tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
}

QuietInput::~QuietInput() {
  if (quiet_ && in_foreground()) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

}  // namespace prosa::cli
