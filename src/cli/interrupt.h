// Ctrl-C, and for programs that serve until they are told to end, SIGTERM. By default it ends the program at once with
// exit code 130; while a Catch lives, it calls a function instead, on a thread of its own (so the function may do more
// than a signal handler may).
//
// However a signal ends the program (Ctrl-C, SIGTERM, SIGHUP), half-written files are removed and the terminal is given
// back as it was.
//
// Also the program's rules for two signals of writes: a reader that goes away (SIGPIPE) ends the program quietly, as it
// does with other tools; a limit on file sizes (SIGXFSZ) is an error like a full disk.
// Invariant: at most one Catch lives at a time.
#pragma once

#include <functional>

namespace prosa::cli::interrupt {

/// Call once, first thing in main().
void install();

/// From now on Ctrl-C does nothing where no Catch lives: between the lines and replies of a conversation.
void ignore_uncaught();

/// What Ctrl-C does to a read() or write() under way: nothing, or it ends with EINTR.
enum class Waiting { goes_on, ends };

/// The terminal at this descriptor has been asked to mark pasted text. However the program ends, it is asked to stop: a
/// shell that knows nothing of it would get the marks.
void terminal_modes_to_clean(int descriptor);
/// Asks it now.
void clean_terminal_modes();

/// Which signals a Catch catches.
enum class Signals { interrupt, interrupt_and_terminate };

class Catch {
 public:
  /// `on_interrupt` (may be empty) runs on another thread, at most once for each Ctrl-C, never after the destructor.
  explicit Catch(std::function<void()> on_interrupt, Waiting waiting = Waiting::goes_on,
                 Signals signals = Signals::interrupt);
  ~Catch();
  Catch(const Catch&) = delete;
  Catch& operator=(const Catch&) = delete;
  /// Whether Ctrl-C was pressed since this object was made.
  [[nodiscard]] bool interrupted() const noexcept;
};

}  // namespace prosa::cli::interrupt
