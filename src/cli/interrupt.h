// Ctrl-C. By default it ends the program at once with exit code 130; while a Catch lives, it calls a function instead,
// on a thread of its own (so the function may do more than a signal handler may).
//
// Also the program's SIGPIPE rule: a reader that goes away ends the program quietly, as it does with other tools.
// Invariant: at most one Catch lives at a time.
#pragma once

#include <functional>

namespace prosa::cli::interrupt {

/// Call once, first thing in main().
void install();

class Catch {
 public:
  /// `on_interrupt` (may be empty) runs on another thread, at most once for each Ctrl-C, never after the destructor.
  explicit Catch(std::function<void()> on_interrupt = {});
  ~Catch();
  Catch(const Catch&) = delete;
  Catch& operator=(const Catch&) = delete;
  /// Whether Ctrl-C was pressed since this object was made.
  [[nodiscard]] bool interrupted() const noexcept;
};

}  // namespace prosa::cli::interrupt
