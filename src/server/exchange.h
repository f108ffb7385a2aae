// The way back of one request: what its handler says, from any thread, until the connection has sent it.
//
// No socket: the connection takes what is there (take()) and is woken when there is more. It is the one place where
// the two meet, so it bounds what is unsent: write() waits for a client that reads slowly, and gives up after a while.
// Invariant: one answer, either whole (respond()) or as a stream (open_stream(), write(), finish()); its head is
// decided late, so that an error found before the first byte still has a status of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "server/http.h"

namespace prosa::server {

enum class StreamKind {
  events,  // text/event-stream: comments keep it alive while nothing is said
  lines,   // application/x-ndjson
};

class Exchange {
 public:
  struct Limits {
    size_t unsent = size_t{256} << 10;           // bytes that may wait for the client
    std::chrono::milliseconds patience{30'000};  // with a client that takes nothing
  };

  Exchange(std::string id, const Limits& limits) : id_(std::move(id)), limits_(limits) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // The handler's side.

  /// Of the request; every answer carries it.
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  /// The whole answer. Without effect when there is one already.
  void respond(Response response);
  /// The answer will be a stream. Nothing is sent before the first write() or beat.
  void open_stream(StreamKind kind);
  /// Sends a part of it. Waits while too much is unsent. False: nobody reads it any more.
  bool write(std::string_view text);
  /// The stream is complete.
  void finish();
  /// Too late for a status: the head has been decided.
  [[nodiscard]] bool begun() const;
  /// An answer was given in full, or nobody waits for it.
  [[nodiscard]] bool over() const;
  /// The client has gone, or takes nothing.
  [[nodiscard]] bool gone() const;
  /// Called once when the client goes, on the connection's thread (at once if it has gone). It must not wait. Replaces
  /// the one before; empty: nothing. When this returns, none that it replaced is running.
  void on_gone(std::function<void()> notice);

  // The connection's side.

  struct Output {
    std::optional<Response> head = {};  // to be sent first; streamed: without a body of its own
    bool streamed = false;
    std::string text = {};  // the next part of the stream
    bool finished = false;  // nothing follows
    [[nodiscard]] bool empty() const { return !head && text.empty() && !finished; }
  };
  /// All there is to send now, once each.
  Output take();
  /// That many bytes of parts have been sent.
  void sent(size_t bytes);
  /// Nothing was sent for a while: a stream of events says so by a comment.
  void beat();
  /// The client has gone.
  void leave();
  /// Called, from any thread, whenever there is something to take. Before the handler gets the exchange.
  void attach(std::function<void()> wake) { wake_ = std::move(wake); }

 private:
  void wake() const {
    if (wake_) wake_();
  }
  void begin_stream();  // under the lock

  const std::string id_;
  const Limits limits_;
  std::function<void()> wake_;
  std::mutex notice_mutex_;  // before mutex_; held while a notice runs
  std::function<void()> notice_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable drained_;
  std::optional<StreamKind> kind_;
  std::optional<Response> head_;
  std::string text_;
  size_t unsent_ = 0;  // of text_, and of what was taken and not sent yet
  bool begun_ = false;
  bool finished_ = false;
  bool finish_taken_ = false;
  bool gone_ = false;
};

}  // namespace prosa::server
