// A Wyoming program that is asked for something again and again: its connection, what it offers, its spare.
//
// Over sockets each request gets a connection of its own, as Home Assistant does it (many programs close it after one
// answer). A stdio: program serves request after request until it ends or is dropped. A spare one is started ahead of
// the moment that it takes over, and asked what it offers: its answer shows that it is ready. One thread at a time, but
// for cancel().
#pragma once

#include <memory>
#include <string>

#include "voice/wyoming/connection.h"
#include "voice/wyoming/programs.h"

namespace prosa::wyoming {

class Program {
 public:
  /// Asks the program what it offers. `service`: "asr" or "tts"; "": any, also none. Errors as in programs.h.
  Program(const std::string& address, std::string_view service, const Limits& limits);

  /// Whether the first program of the service says `key`: true of itself.
  [[nodiscard]] bool offers(const char* key) const;
  [[nodiscard]] const std::string& name() const noexcept { return address_.text; }

  /// A new request, begun with `first`: the connection to go on with. It stays valid until finish() or drop().
  /// PeerEnded: a program that ended since the last request, or is just about to, and was not seen to; another request
  /// may do.
  Connection& request(const Event& first);
  /// The request was answered in full.
  void finish() noexcept;
  /// The request failed or was cancelled: nobody waits for its answer.
  void drop() noexcept;
  /// Ends every wait, from any thread, until request() is called again.
  void cancel() noexcept { wake_.set(); }
  [[nodiscard]] bool cancelled() const noexcept { return wake_.is_set(); }
  void clear_cancel() noexcept { wake_.clear(); }

  [[nodiscard]] Clock::time_point answer_deadline() const { return Clock::now() + limits_.answer; }
  /// For an event that is not part of the answer. Those that the protocol knows, and `error`, are Error(io); of others
  /// a few are overlooked, as the protocol asks.
  void refuse(const Event& event);

 private:
  [[nodiscard]] bool is_child() const noexcept { return address_.kind == Address::Kind::child; }
  void describe(std::string_view service);
  std::unique_ptr<Connection> connect();
  void start();
  void adopt_spare() noexcept;
  void await_info(Clock::time_point deadline);
  void start_spare() noexcept;
  void tend_spare() noexcept;

  Address address_;
  Limits limits_;
  Wake wake_;
  nlohmann::json offer_;                 // the program's own entry in its info
  std::unique_ptr<Connection> current_;  // null: none
  std::unique_ptr<Connection> spare_;    // of a stdio: program; null: none
  /// How far a program that was just started is: it is sent `describe`, and answers when it is ready.
  enum class Readiness { started, asked, ready };
  Readiness current_is_ = Readiness::ready, spare_is_ = Readiness::started;
  int overlooked_ = 0;  // events of the request
};

}  // namespace prosa::wyoming
