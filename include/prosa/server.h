// A model behind HTTP: OpenAI's, Ollama's and Anthropic's APIs on one engine, for an application to host.
//
// `prosa serve` is this with a command line. What is answered, and how: docs/reference/http.md. Requests bring their
// whole history; conversations stay warm by themselves.
//
// Thread safety: any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"
#include "prosa/model.h"
#include "prosa/sampling.h"

namespace prosa {

struct ServerOptions {
  std::string address = "127.0.0.1";  // an IP address of this machine; "0.0.0.0" or "::": all of them
  uint16_t port = 8080;               // 0: any that is free
  std::string model_name = {};        // as clients see it; "": the name of the model's folder
  /// Each is a client of its own: what one has made prosa read is never met by another. Empty: nobody is asked.
  std::vector<std::string> api_keys = {};
  std::vector<std::string> origins =
      {};                               // of web pages that may ask, beside the loopback's: "https://example.org", "*"
  std::vector<std::string> hosts = {};  // names it may be asked by, beside addresses and the machine's own; "*": any

  std::string tls_certificate = {};  // a PEM file, with the chain: the server speaks HTTPS. "": HTTP
  std::string tls_key = {};          // the PEM file of its key

  /// What requests leave open. Replies may fill the context, as these APIs have it.
  SamplingConfig sampling = {.max_tokens = 1'000'000, .max_thinking_tokens = 2048};

  // Of a server with models by name. One model may always be loaded.
  int64_t model_bytes = 0;         // of weights that are loaded together; 0: no limit
  double idle_unload_seconds = 0;  // that a model is unused before it is unloaded; 0: never

  int replies = 8;                                // computed at a time
  int waiting = 64;                               // requests that wait for that; others are told to come back
  int conversations = 16;                         // kept warm beside those that are replied to
  int64_t conversation_bytes = int64_t{1} << 30;  // of their states
  int64_t response_bytes = int64_t{64} << 20;     // of answers that /v1/responses can go on from by their ids
  int connections = 256;                          // open at a time
  size_t head_bytes = size_t{16} << 10;           // of a request, at most
  size_t body_bytes = size_t{16} << 20;           // the same
  std::chrono::milliseconds head_time{10'000};    // from a request's first byte to its empty line
  std::chrono::milliseconds body_time{60'000};    // for its body
  std::chrono::milliseconds idle_time{75'000};    // of a connection between two requests
  std::chrono::milliseconds write_time{30'000};   // that a client takes nothing of its answer
  std::chrono::milliseconds reply_time{600'000};  // for a reply; then it ends where it is
  std::chrono::milliseconds beat{10'000};         // of silence, then a stream of events shows that it lives

  /// A line of JSON for every request: method, path, status, times and counts; no text of messages. From a thread
  /// of its own, one call at a time: it may take its time, but of more than 4,096 lines that wait the newest are
  /// dropped, which a line says.
  std::function<void(std::string_view line)> log = {};
};

/// One of the models that a server has by name.
struct ServedModel {
  std::string name = {};   // as clients ask for it; "": the last part of `model`
  std::string model = {};  // a folder, a hub name, a short name
  LoadOptions load = {};
};

class Server {
 public:
  /// Serves from here on. Errors: invalid_argument (an option; the field is named), io (the address is taken), and
  /// those of Chat's constructor.
  Server(const Model& model, const ServerOptions& options);
  /// The same with models that are loaded when they are asked for, the first of them here: it also answers requests
  /// that name none. Errors: those above, and those of loading the first.
  Server(const std::vector<ServedModel>& models, const ServerOptions& options);
  /// Ends everything at once; see drain().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] uint16_t port() const noexcept;
  /// The name that clients ask for; of several models that of the first.
  [[nodiscard]] std::string model_name() const;
  /// Takes no new connection, lets requests under way end, and cuts those that have not within `patience`. Returns when
  /// all is over.
  void drain(std::chrono::milliseconds patience = std::chrono::milliseconds(30'000));

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace prosa
