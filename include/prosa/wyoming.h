// prosa as a Wyoming program: what Home Assistant and others that speak the protocol reach over TCP, a Unix socket, or
// standard input and output.
//
// Chiefly a `handle` service (text in, a reply in pieces out), so that a model answers without a plug-in; an engine of
// recognition and one of synthesis can be served beside it. WyomingConversations is the model behind `handle`. Not the
// client: make_speech_to_text() and make_text_to_speech() take addresses (voice_parts.h). The protocol knows no
// authentication: listen on the loopback, or where everybody may ask.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/chat.h"
#include "prosa/error.h"
#include "prosa/voice_parts.h"

namespace prosa {

struct WyomingRequest {
  std::string text = {};          // UTF-8
  std::string language = {};      // BCP 47, or ""
  std::string conversation = {};  // the same for turns of one conversation; "": none was named. Each may come on its
                                  // own connection
  uint64_t connection = 0;        // a number of its own for each connection of a listener
};

struct WyomingService {
  std::string name = "prosa";
  std::string description = "Answers from a language model on this device";
  std::vector<std::string> languages = {};  // BCP 47; empty: any

  /// Takes the next piece of the reply, UTF-8; false: nobody listens any longer. An empty piece only asks that.
  using Piece = std::function<bool(std::string_view text)>;
  /// Answers a request, from any thread, several at a time. What it throws is told the client. Empty: not offered.
  std::function<void(const WyomingRequest& request, const Piece& piece)> handle = {};
  /// Make an engine; it serves one request at a time and is kept for the next. Empty: not offered.
  std::function<std::unique_ptr<SpeechToText>()> speech_to_text = {};
  std::function<std::unique_ptr<TextToSpeech>()> text_to_speech = {};
  /// stdio: the client has gone, and no other will come. On a thread of the listener.
  std::function<void()> closed = {};
};

/// Answers requests from a model: each conversation goes on where it was, all of them share the model's weights and
/// stored states. Requests without a conversation belong to that of their connection.
///
/// Thread safety: any thread; two requests of one conversation are answered one after the other. Both functions are for
/// WyomingService::handle and for the end of a program.
class WyomingConversations {
 public:
  struct Options {
    std::string system = {};       // the system message
    SamplingConfig sampling = {};  // disable_thinking is set unless enable_thinking is
    int conversations = 64;  // remembered at a time; the one that was silent for longest is forgotten for a new one
    int replies = 2;         // computed at a time, each with a state of its own; others wait for their turn
    std::chrono::milliseconds idle{1'800'000};  // a conversation that was silent for so long is forgotten
  };
  /// Errors: invalid_argument (an option), and those of Chat.
  WyomingConversations(const Model& model, const Options& options);
  ~WyomingConversations();
  WyomingConversations(const WyomingConversations&) = delete;
  WyomingConversations& operator=(const WyomingConversations&) = delete;

  /// The reply, in pieces. A turn whose client goes away, or that fails, never was. Errors: invalid_argument (no words
  /// in it), cancelled (after stop()), those of Chat::generate().
  void answer(const WyomingRequest& request, const WyomingService::Piece& piece);
  /// Ends the replies under way; none is begun any more.
  void stop() noexcept;
  /// Conversations that are remembered.
  [[nodiscard]] size_t remembered() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class WyomingListener {
 public:
  struct Limits {
    int connections = 16;                      // at a time; others are told that there is no room
    std::chrono::milliseconds idle{300'000};   // without a request, then the connection is closed
    std::chrono::milliseconds answer{15'000};  // that a client takes nothing, or for an event begun, then as well
  };
  /// `address`: tcp://HOST:PORT (port 0: any), unix:///PATH (readable by its owner alone), or stdio://: one client, at
  /// standard input and output, which nothing else may use. Listens from here on, each connection on a thread of its
  /// own. Errors: invalid_argument (the address), io (it is taken, or refused).
  WyomingListener(const std::string& address, WyomingService service, const Limits& limits);
  WyomingListener(const std::string& address, WyomingService service)
      : WyomingListener(address, std::move(service), Limits()) {}
  /// Closes all connections; a reply under way ends at its next piece.
  ~WyomingListener();
  WyomingListener(const WyomingListener&) = delete;
  WyomingListener& operator=(const WyomingListener&) = delete;

  /// tcp: the port that it listens at; else 0.
  [[nodiscard]] uint16_t port() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace prosa
