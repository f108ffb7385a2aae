// A way to a Wyoming peer: events in both directions, each wait with a time limit, all waits ended from any thread.
//
// Over TCP, a Unix socket, or a program's standard input and output. Nothing ever blocks but in poll(): while an event
// is being sent, what the peer says meanwhile is read, so that two full pipes never wait for one another. Errors: io
// (the message says whether the peer hangs, died or does not speak Wyoming; where names it), cancelled. After an Error
// the connection is of no use. One thread at a time, but for Wake::set().
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/descriptor.h"
#include "prosa/error.h"
#include "voice/wyoming/address.h"
#include "voice/wyoming/child.h"
#include "voice/wyoming/event.h"

namespace prosa::wyoming {

using Clock = std::chrono::steady_clock;

/// Ends every wait that watches it, from the moment it is set until it is cleared. set() from any thread.
class Wake {
 public:
  Wake();
  void set() noexcept;
  void clear() noexcept;
  [[nodiscard]] bool is_set() const noexcept;
  [[nodiscard]] int descriptor() const noexcept { return event_.get(); }

 private:
  Descriptor event_;
};

/// The peer is gone: it closed the connection, or the program ended. Another may do better.
class PeerEnded : public Error {
 public:
  PeerEnded(std::string message, std::string peer) : Error(ErrorCode::io, std::move(message), std::move(peer)) {}
};

class Connection {
 public:
  /// Reaches a peer that listens, or starts one. `wake` outlives the connection.
  static std::unique_ptr<Connection> open(const Address& address, const Wake& wake, Clock::time_point deadline);
  /// A peer that reached us.
  Connection(Descriptor socket, std::string peer, const Wake& wake);
  /// A peer that started us, at the other ends of two pipes (or what stands for them). The caller has SIGPIPE blocked
  /// or ignored. Both are non-blocking while the connection lives, and as they were afterwards.
  Connection(Descriptor in, Descriptor out, std::string peer, const Wake& wake);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void send(const Event& event, Clock::time_point deadline);
  /// The next event; nothing when the peer closed the connection between two events. `whole`: how long an event may
  /// take that has begun. Running into either is Error(io).
  std::optional<Event> receive(Clock::time_point deadline, Clock::duration whole = std::chrono::hours(1));
  /// The next event where it is there already. Never waits.
  std::optional<Event> poll();
  /// Whether the peer closed its end. What it sent before may still be received.
  bool ended();
  /// Whether nobody takes what is sent any longer. A peer on pipes that has said all it wanted to may still listen.
  bool gone();
  /// Whether waits are cancelled.
  [[nodiscard]] bool cancelled() const noexcept { return wake_.is_set(); }
  /// Waits until the peer has sent something or the deadline is over. Error(cancelled) as every wait.
  void wait_readable(Clock::time_point deadline);
  /// PeerEnded, with what is known of the peer's end, such as a program's exit code.
  [[noreturn]] void fail_ended();
  [[noreturn]] void fail(const std::string& what) const;
  /// The peer is not worth waiting for: a program is killed at once.
  void abandon() noexcept;
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

 private:
  Connection(std::unique_ptr<Child> child, std::string peer, const Wake& wake);
  bool fill();  // reads what is there; true: something was
  enum class Wanted { reading, both };
  void wait(Wanted wanted, Clock::time_point deadline, const char* what_for);

  std::string peer_;
  const Wake& wake_;
  std::unique_ptr<Child> child_;        // null: over a socket
  Descriptor socket_, second_;          // second_: what is written to, where that is another one
  int flags_ = -1, second_flags_ = -1;  // that pipes had before; -1: sockets
  int in_ = -1, out_ = -1;              // of the socket or the child
  EventReader reader_;
  bool closed_ = false;  // by the peer
};

}  // namespace prosa::wyoming
