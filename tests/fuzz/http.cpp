// Input: what a client sends to the server, byte for byte, in pieces of a connection. Whatever it is, each answer is
// HTTP with a status that the server knows, a body of JSON is answered with JSON, and the next client is served.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <nlohmann/json.hpp>

#include "base/descriptor.h"
#include "fuzz.h"
#include "prosa/server.h"
#include "tiny_model.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

Server& server() {
  static const Model model = [] {
    make_tiny_model(folder() / "model");
    return Model::from_pretrained((folder() / "model").string(), {.threads = 1, .context = 256});
  }();
  using std::chrono::milliseconds;
  static Server shared(model, {.port = 0,
                               .sampling = {.temperature = 0, .max_tokens = 2, .max_thinking_tokens = 2},
                               .replies = 1,
                               .body_bytes = 1 << 20,
                               .head_time = milliseconds(200),
                               .body_time = milliseconds(200),
                               .idle_time = milliseconds(200),
                               .reply_time = milliseconds(2000)});
  return shared;
}

/// Everything that comes back until the server closes, or is silent for a while.
std::string talk(std::string_view bytes) {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "the server takes one");
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  std::string answer;
  while (true) {
    pollfd waited{socket.get(), POLLIN, 0};
    char buffer[4096];
    if (::poll(&waited, 1, 5000) != 1) break;
    const ssize_t count = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  return answer;
}

/// A proper request around a body.
std::string request_of(std::string_view path, std::string_view body) {
  std::string text = "POST ";
  text += path;
  text += " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size());
  text += "\r\n\r\n";
  text += body;
  return text;
}

int status_of(const std::string& answer) {
  require(answer.starts_with("HTTP/1.1 ") && answer.size() > 12, "an answer is HTTP", answer);
  return std::stoi(answer.substr(9, 3));
}

}  // namespace

/// The first byte chooses: raw bytes, or a body for one of the paths that read one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kPaths[] = {"/v1/chat/completions",
                                         "/api/chat",
                                         "/api/generate",
                                         "/v1/messages",
                                         "/v1/messages/count_tokens",
                                         "/tokenize",
                                         "/detokenize",
                                         "/apply-template",
                                         "/v1/responses",
                                         "/v1/responses/input_tokens",
                                         "/v1/chat/completions/input_tokens",
                                         "/v1/score"};
  if (size == 0) return 0;
  const std::string_view rest = text_of(data + 1, size - 1);
  const size_t kind = (data[0] - size_t{'0'}) % (std::size(kPaths) + 1);
  if (kind == 0) {
    const std::string answer = talk(rest);
    if (!answer.empty()) require(status_of(answer) >= 100 && status_of(answer) < 504, "a status is one", answer);
  } else {
    const std::string answer = talk(request_of(kPaths[kind - 1], rest));
    const int status = status_of(answer);
    require(status == 200 || (status >= 400 && status < 500), "a body is answered or refused, and is no failure",
            answer);
    const size_t body = answer.find("\r\n\r\n");
    if (answer.find("\r\nContent-Type: application/json\r\n") < body) {
      require(nlohmann::json::accept(answer.substr(body + 4)), "what is called JSON is", answer);
    }
  }
  require(status_of(talk("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == 200,
          "the next one is served");
  return 0;
}
