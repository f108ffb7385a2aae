// A program that was started, spoken to through its standard input and output.
//
// No shell is involved: words are given as they are. What it writes to its standard error is kept, the last of it, for
// messages. Invariant: when a Child dies, the program and everything it started in its process group are dead and
// reaped. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/descriptor.h"

namespace prosa::wyoming {

class Child {
 public:
  /// Error(not_found): no such program; Error(io): the system refused.
  explicit Child(const std::vector<std::string>& words);
  /// Closes its input and gives it a moment to end by itself, then kills it.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Both are non-blocking. input is a socket, so that writing to a dead program is an error and no signal.
  [[nodiscard]] int input() const noexcept { return input_.get(); }
  [[nodiscard]] int output() const noexcept { return output_.get(); }
  [[nodiscard]] int errors() const noexcept { return errors_.get(); }
  /// Takes what it wrote to its standard error, so that it never waits for room there. false: it closed that.
  bool drain_errors();
  /// At once, without a moment to end.
  void kill() noexcept;
  /// "ended with exit code 1: the last line it wrote to standard error", for messages.
  std::string last_words();

 private:
  bool reap(int options) noexcept;

  pid_t pid_ = -1;  // -1: reaped
  int status_ = 0;  // of a reaped one
  Descriptor input_, output_, errors_;
  std::string said_;  // the end of its standard error
};

}  // namespace prosa::wyoming
