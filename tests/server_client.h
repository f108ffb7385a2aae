// A small HTTP client over a plain socket, for tests that must be able to do what no good client does: send halves,
// trickle, and go away.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/descriptor.h"

namespace prosa {

struct Answer {
  int status = 0;  // 0: the connection ended first
  std::string head;
  std::string body;  // without chunks' frames
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  [[nodiscard]] std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class Client {
 public:
  explicit Client(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) socket_.reset();
  }

  [[nodiscard]] bool connected() const { return static_cast<bool>(socket_); }
  /// False: the server takes nothing any more.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  /// More of the answer, or false: the connection ended, or nothing came for a long time.
  bool receive() {
    pollfd waited{socket_.get(), POLLIN, 0};
    if (::poll(&waited, 1, 20'000) != 1) return false;
    char bytes[4096];
    const ssize_t count = ::recv(socket_.get(), bytes, sizeof(bytes), 0);
    if (count <= 0) return false;
    received_.append(bytes, static_cast<size_t>(count));
    return true;
  }
  /// Whether the server closes the connection.
  bool ends() {
    while (receive()) {
    }
    return true;
  }
  void leave() { socket_.reset(); }
  [[nodiscard]] const std::string& received() const { return received_; }
  /// Waits until this has come.
  bool wait_for(std::string_view text) {
    while (received_.find(text) == std::string::npos) {
      if (!receive()) return false;
    }
    return true;
  }

  Answer answer(bool to_head = false) {
    Answer answer;
    if (!wait_for("\r\n\r\n")) return answer;
    const size_t end = received_.find("\r\n\r\n") + 4;
    answer.head = received_.substr(0, end);
    received_.erase(0, end);
    answer.status = std::stoi(answer.head.substr(9, 3));
    if (to_head || answer.status == 204) return answer;
    if (answer.header("Transfer-Encoding") == "chunked") {
      read_chunks(answer);
    } else if (const std::string length = answer.header("Content-Length"); !length.empty()) {
      const size_t size = std::stoul(length);
      while (received_.size() < size && receive()) {
      }
      answer.body = received_.substr(0, size);
      received_.erase(0, size);
    } else {
      ends();
      answer.body = std::move(received_);
    }
    return answer;
  }

  Answer ask(const std::string& method, const std::string& path, const std::string& body = {},
             const std::string& headers = {}) {
    std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers;
    if (!body.empty()) {
      text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    }
    send(text + "\r\n" + body);
    return answer(method == "HEAD");
  }

 private:
  void read_chunks(Answer& answer) {
    while (true) {
      while (received_.find("\r\n") == std::string::npos) {
        if (!receive()) return;
      }
      const size_t line = received_.find("\r\n");
      const size_t size = std::stoul(received_.substr(0, line), nullptr, 16);
      while (received_.size() < line + 2 + size + 2) {
        if (!receive()) return;
      }
      answer.body += received_.substr(line + 2, size);
      received_.erase(0, line + 2 + size + 2);
      if (size == 0) return;
    }
  }

  Descriptor socket_;
  std::string received_;
};

/// One request on a connection of its own.
inline Answer ask(uint16_t port, const std::string& method, const std::string& path, const std::string& body = {},
                  const std::string& headers = {}) {
  return Client(port).ask(method, path, body, headers);
}

/// The data of a stream of events; "[DONE]" is no JSON and comes as a string.
inline std::vector<nlohmann::json> events_of(const std::string& body) {
  std::vector<nlohmann::json> events;
  for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
    const size_t end = body.find("\n", at);
    const std::string text = body.substr(at + 6, end - at - 6);
    events.push_back(text == "[DONE]" ? nlohmann::json(text) : nlohmann::json::parse(text));
    at = end;
  }
  return events;
}

}  // namespace prosa
