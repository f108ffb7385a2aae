// prosa as a Wyoming program: what Home Assistant and others that speak the protocol reach over TCP or a Unix socket.
//
// Chiefly a `handle` service (text in, a reply in pieces out), so that a model answers without a plug-in; an engine of
// recognition and one of synthesis can be served beside it. Not the client: make_speech_to_text() and
// make_text_to_speech() take addresses (voice_parts.h). The protocol knows no authentication: listen on the loopback,
// or where everybody may ask.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"
#include "prosa/voice_parts.h"

namespace prosa {

struct WyomingRequest {
  std::string text;          // UTF-8
  std::string language;      // BCP 47, or ""
  std::string conversation;  // the same for turns of one conversation; "": none was named. Each may come on its own
                             // connection
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
};

class WyomingListener {
 public:
  struct Limits {
    int connections = 16;                      // at a time; others are told that there is no room
    std::chrono::milliseconds idle{300'000};   // without a request, then the connection is closed
    std::chrono::milliseconds answer{15'000};  // that a client takes nothing, then as well
  };
  /// `address`: tcp://HOST:PORT (port 0: any) or unix:///PATH (readable by its owner alone). Listens from here on, each
  /// connection on a thread of its own. Errors: invalid_argument (the address), io (it is taken, or refused).
  WyomingListener(const std::string& address, WyomingService service, const Limits& limits);
  WyomingListener(const std::string& address, WyomingService service)
      : WyomingListener(address, std::move(service), Limits()) {}
  /// Closes all connections; a reply under way ends at its next piece.
  ~WyomingListener();
  WyomingListener(const WyomingListener&) = delete;
  WyomingListener& operator=(const WyomingListener&) = delete;

  /// tcp: the port; else 0.
  [[nodiscard]] uint16_t port() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace prosa
