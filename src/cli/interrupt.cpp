// SIGINT through a pipe to a watcher thread: the handler itself only stores a flag and writes a byte. What ends the
// program cleans up in the handler.
#include "cli/interrupt.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "base/signal_removal.h"
#include "prosa/error.h"

namespace prosa::cli::interrupt {
namespace {

constexpr int kInterruptedExitCode = 130;
constexpr std::string_view kStopMarking = "\033[?2004l";
std::atomic<bool> catching{false};
std::atomic<bool> pressed{false};
std::atomic<bool> ends_program{true};  // when nobody catches
std::atomic<int> wake_descriptor{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

std::mutex callback_mutex;
std::function<void()> callback;  // guarded by callback_mutex

std::atomic<int> marked_descriptor{-1};  // of a terminal that marks pasted text
termios terminal_before = {};
bool has_terminal = false;

/// Half-written files go, and the terminal is as it was. Only what a signal handler may do.
void leave_nothing() {
  remove_registered_names();
  clean_terminal_modes();
  // The terminal of others is theirs: of the foreground alone.
  if (!has_terminal || tcgetpgrp(STDIN_FILENO) != getpgrp()) return;
  tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/// Ends the program by the signal, as if nobody had caught it: whoever started the program is told the same.
void handle_end(int signal) {
  leave_nothing();
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // blocked until this function returns
}

void handle_interrupt(int) {
  const int saved_errno = errno;
  if (!catching.load()) {
    if (!ends_program.load()) return;
    if (isatty(STDERR_FILENO) != 0) (void)!write(STDERR_FILENO, "\n", 1);
    leave_nothing();
    _exit(kInterruptedExitCode);
  }
  pressed.store(true);
  (void)!write(wake_descriptor.load(), "!", 1);
  errno = saved_errno;
}

void watch(int descriptor) {
  char byte = 0;
  while (true) {
    const ssize_t count = read(descriptor, &byte, 1);
    if (count == -1 && errno == EINTR) continue;
    if (count != 1) return;
    const std::scoped_lock lock(callback_mutex);
    if (callback && pressed.load()) callback();  // not for a Ctrl-C that an earlier Catch has dealt with
  }
}

void start_watcher() {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw Error(ErrorCode::io, std::generic_category().message(errno), "the pipe for Ctrl-C");
  }
  wake_descriptor.store(ends[1]);
  // Blocked here: the signal must reach the main thread, whose read() it has to interrupt.
  sigset_t only_interrupt;
  sigset_t previous;
  sigemptyset(&only_interrupt);
  sigaddset(&only_interrupt, SIGINT);
  sigaddset(&only_interrupt, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &only_interrupt, &previous);
  std::thread(watch, ends[0]).detach();
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

/// With `restart`, a system call that the signal meets goes on: no write of a reply may fail because of Ctrl-C.
void set_handler(bool restart) {
  struct sigaction action = {};
  action.sa_handler = handle_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = restart ? SA_RESTART : 0;
  sigaction(SIGINT, &action, nullptr);
}

/// Not where the parent has the signal ignored (nohup).
void set_end_handler(int signal) {
  struct sigaction action = {};
  if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
  action.sa_handler = handle_end;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install() {
  std::signal(SIGPIPE, SIG_DFL);  // some parents leave it ignored
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes (ulimit -f): standard output says that it can't be written
  set_handler(true);
  has_terminal = tcgetattr(STDIN_FILENO, &terminal_before) == 0;
  set_end_handler(SIGTERM);
  set_end_handler(SIGHUP);
}

void terminal_modes_to_clean(int descriptor) { marked_descriptor.store(descriptor); }

void clean_terminal_modes() {
  const int descriptor = marked_descriptor.exchange(-1);
  if (descriptor >= 0) (void)!write(descriptor, kStopMarking.data(), kStopMarking.size());
}

void ignore_uncaught() { ends_program.store(false); }

Catch::Catch(std::function<void()> on_interrupt, Waiting waiting, Signals signals) {
  static std::once_flag started;
  std::call_once(started, start_watcher);
  {
    const std::scoped_lock lock(callback_mutex);
    callback = std::move(on_interrupt);
    pressed.store(false);
  }
  if (catching.exchange(true)) std::abort();  // two at a time: a mistake of the program itself
  if (waiting == Waiting::ends) set_handler(false);
  if (signals == Signals::interrupt_and_terminate) std::signal(SIGTERM, handle_interrupt);
}

Catch::~Catch() {
  set_handler(true);
  set_end_handler(SIGTERM);
  catching.store(false);
  const std::scoped_lock lock(callback_mutex);
  callback = nullptr;
}

bool Catch::interrupted() const noexcept { return pressed.load(); }

}  // namespace prosa::cli::interrupt
