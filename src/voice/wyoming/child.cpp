// Starting, killing and reaping by posix_spawn and waitpid.
#include "voice/wyoming/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "base/files.h"
#include "prosa/error.h"

namespace prosa::wyoming {
namespace {

constexpr size_t kMaxKept = 2048;                 // bytes of standard error
constexpr size_t kMaxLastWords = 200;             // bytes of it in a message
constexpr std::chrono::milliseconds kGrace{200};  // between the end of its input and the signal
constexpr std::chrono::milliseconds kPause{2};    // between two looks whether it ended
constexpr std::chrono::milliseconds kDying{50};   // for a program that closed its output: its exit code comes soon

std::pair<Descriptor, Descriptor> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_io("pipe", "can't make", errno);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

void make_non_blocking(const Descriptor& end) { ::fcntl(end.get(), F_SETFL, ::fcntl(end.get(), F_GETFL) | O_NONBLOCK); }

/// Signals as a fresh program expects them, whatever this process does with its own; a process group of its own, so
/// that an interrupt of the terminal is left to us, and so that all of it can be killed.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&value);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&value, &all);
    posix_spawnattr_setsigmask(&value, &none);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setflags(&value, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { posix_spawnattr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t value;
};

class Actions {
 public:
  Actions() { posix_spawn_file_actions_init(&value); }
  ~Actions() { posix_spawn_file_actions_destroy(&value); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  posix_spawn_file_actions_t value;
};

}  // namespace

Child::Child(const std::vector<std::string>& words) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw_io("socket", "can't make", errno);
  input_ = Descriptor(pair[0]);
  const Descriptor its_input(pair[1]);
  Descriptor its_output, its_errors;
  std::tie(output_, its_output) = make_pipe();
  std::tie(errors_, its_errors) = make_pipe();
  for (const Descriptor* end : {&input_, &output_, &errors_}) make_non_blocking(*end);
  Actions actions;
  posix_spawn_file_actions_adddup2(&actions.value, its_input.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions.value, its_output.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions.value, its_errors.get(), STDERR_FILENO);
  const Attributes attributes;
  std::vector<std::string> copies = words;
  std::vector<char*> argv;
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = posix_spawnp(&pid_, argv.front(), &actions.value, &attributes.value, argv.data(), environ);
  if (error == 0) return;
  pid_ = -1;
  if (error == ENOENT) throw Error(ErrorCode::not_found, "there is no such program", words.front());
  throw_io(words.front(), "can't start", error);
}

Child::~Child() {
  input_.reset();
  const auto until = std::chrono::steady_clock::now() + kGrace;
  while (pid_ > 0 && !reap(WNOHANG) && std::chrono::steady_clock::now() < until) {
    drain_errors();
    std::this_thread::sleep_for(kPause);
  }
  kill();
}

bool Child::reap(int options) noexcept {
  if (pid_ <= 0) return true;
  // First only looked at: a zombie keeps the process group's number from being given to others.
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT | options) == 0 && info.si_pid == 0)
    return false;
  ::kill(-pid_, SIGKILL);
  while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return true;
}

void Child::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  reap(0);
}

bool Child::drain_errors() {
  std::array<char, 4096> block;
  while (true) {
    const ssize_t count = ::read(errors_.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 && errno == EAGAIN;
    said_.append(block.data(), static_cast<size_t>(count));
    if (said_.size() > kMaxKept) said_.erase(0, said_.size() - kMaxKept);
  }
}

std::string Child::last_words() {
  const auto until = std::chrono::steady_clock::now() + kDying;
  while (!reap(WNOHANG) && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(kPause);
  drain_errors();
  std::string text = "it closed its output";
  if (pid_ < 0 && WIFEXITED(status_)) text = "it ended with exit code " + std::to_string(WEXITSTATUS(status_));
  if (pid_ < 0 && WIFSIGNALED(status_)) text = "it was ended by signal " + std::to_string(WTERMSIG(status_));
  std::string_view last = said_;
  while (last.ends_with('\n') || last.ends_with(' ')) last.remove_suffix(1);
  if (const size_t line = last.rfind('\n'); line != std::string_view::npos) last.remove_prefix(line + 1);
  if (!last.empty()) text += ": " + std::string(last.substr(0, kMaxLastWords));
  return text;
}

}  // namespace prosa::wyoming
