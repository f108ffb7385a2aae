// A model hub on 127.0.0.1: the API, redirects to storage on another host (127.0.0.2), ranges; and every misbehaviour a
// test asks for.
//
// Plain sockets, a thread per connection, so that it can lie, cut and drip. Not a proxy and not for strangers: it
// trusts its clients. Invariant: what it counts as served was handed to the socket.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "hub/hash.h"

namespace prosa::test {

struct ServerRequest {
  bool storage = false;  // came to the storage's host
  std::string method, path;
  std::string proxied_host;                    // "": it was not asked as a proxy
  std::map<std::string, std::string> headers;  // names in lower case
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct ServerReply {
  int status = 200;
  std::vector<std::string> headers = {};  // "Name: value"
  std::string_view body = {};             // must outlive the reply: of a file, or of `own`
  std::string own = {};
  std::optional<uint64_t> announced = {};    // Content-Length, when it is not the body's
  uint64_t cut_after = UINT64_MAX;           // closes the connection after so many bytes of the body
  std::chrono::microseconds per_block = {};  // waits after each block
  size_t block = size_t{256} << 10;
  bool endless = false;  // goes on with zeros
};

class HubServer {
 public:
  static constexpr const char* commit = "0123456789abcdef0123456789abcdef01234567";

  struct File {
    std::string_view bytes;
    std::string owned;
    bool lfs = false;
    std::string sha1, sha256;
  };

  HubServer() {
    for (size_t i = 0; i < 2; ++i) listen_at(i);
  }
  ~HubServer() {
    stopping_ = true;
    for (const int socket : listeners_) ::shutdown(socket, SHUT_RDWR);
    for (std::thread& thread : acceptors_) thread.join();
    {
      const std::scoped_lock lock(mutex_);
      for (const int socket : open_) ::shutdown(socket, SHUT_RDWR);
    }
    while (alive_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const int socket : listeners_) ::close(socket);
  }
  HubServer(const HubServer&) = delete;
  HubServer& operator=(const HubServer&) = delete;

  [[nodiscard]] std::string endpoint() const { return fmt::format("http://127.0.0.1:{}", ports_[0]); }
  [[nodiscard]] std::string storage() const { return fmt::format("http://127.0.0.2:{}", ports_[1]); }
  [[nodiscard]] std::string repository() const { return "some/model"; }

  // The repository; may be changed between requests. What a file held stays valid as long as the server.
  void add(const std::string& path, std::string bytes, bool lfs = false) {
    const auto file = std::make_shared<File>();
    file->owned = std::move(bytes);
    file->bytes = file->owned;
    file->lfs = lfs;
    add(path, file);
  }
  /// `bytes` outlive the server.
  void add_view(const std::string& path, std::string_view bytes, bool lfs) {
    const auto file = std::make_shared<File>();
    file->bytes = bytes;
    file->lfs = lfs;
    add(path, file);
  }
  void remove(const std::string& path) {
    const std::scoped_lock lock(files_mutex_);
    retired_.push_back(files_.at(path));
    files_.erase(path);
  }
  [[nodiscard]] const File& file(const std::string& path) const {
    const std::scoped_lock lock(files_mutex_);
    return *files_.at(path);
  }
  /// Listed, but not there: names a server should not send.
  void list(const std::string& path) {
    const std::scoped_lock lock(files_mutex_);
    listed_.push_back(path);
  }

  // Behaviour; may be changed while it runs.
  using Intercept = std::function<std::optional<ServerReply>(const ServerRequest&)>;
  void intercept(Intercept function) {
    const std::scoped_lock lock(mutex_);
    intercept_ = std::move(function);
  }
  /// Pause after each block of a file, which are of 64 KiB then.
  void throttle(std::chrono::microseconds pause) { throttle_ = pause; }
  void require_token(const std::string& token) {
    const std::scoped_lock lock(files_mutex_);
    token_ = token;
  }

  // What happened.
  [[nodiscard]] uint64_t connections() const { return connections_; }
  [[nodiscard]] uint64_t body_bytes() const { return body_bytes_; }
  [[nodiscard]] std::vector<ServerRequest> requests() const {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }
  [[nodiscard]] size_t count(const std::string& method, const std::string& part) const {
    const auto all = requests();
    return static_cast<size_t>(std::ranges::count_if(all, [&](const ServerRequest& request) {
      return request.method == method && request.path.find(part) != std::string::npos;
    }));
  }

  /// The part of `file` that the request asks for: 206, 416, or 200 without a range.
  [[nodiscard]] ServerReply range_reply(const ServerRequest& request, const File& file) const {
    ServerReply reply;
    reply.per_block = std::chrono::microseconds(throttle_.load());
    if (reply.per_block.count() > 0) reply.block = size_t{64} << 10;
    reply.headers = {"Accept-Ranges: bytes", fmt::format("ETag: \"{}\"", file.lfs ? file.sha256 : file.sha1)};
    const std::string range = request.header("range");
    if (!range.starts_with("bytes=")) {
      reply.body = file.bytes;
      return reply;
    }
    const size_t dash = range.find('-');
    const uint64_t begin = std::stoull(range.substr(6, dash - 6));
    const uint64_t last = dash + 1 < range.size() ? std::stoull(range.substr(dash + 1)) : UINT64_MAX;
    if (begin >= file.bytes.size()) {
      reply.status = 416;
      reply.headers.push_back(fmt::format("Content-Range: bytes */{}", file.bytes.size()));
      return reply;
    }
    const uint64_t end = std::min<uint64_t>(last, file.bytes.size() - 1) + 1;
    reply.status = 206;
    reply.headers.push_back(fmt::format("Content-Range: bytes {}-{}/{}", begin, end - 1, file.bytes.size()));
    reply.body = file.bytes.substr(begin, end - begin);
    return reply;
  }

  static ServerReply error(int status, const std::string& code = {}) {
    ServerReply reply;
    reply.status = status;
    if (!code.empty()) reply.headers.push_back("X-Error-Code: " + code);
    return reply;
  }

  /// What it would do without an intercept.
  [[nodiscard]] ServerReply answer(const ServerRequest& request) const {
    const std::scoped_lock lock(files_mutex_);
    if (request.storage) {
      for (const auto& [path, file] : files_) {
        if (request.path == "/blob/" + file->sha256) return range_reply(request, *file);
      }
      return error(404);
    }
    if (!token_.empty() && request.header("authorization") != "Bearer " + token_) return error(401, "GatedRepo");
    const std::string api = "/api/models/" + repository() + "/";
    if (request.path.starts_with(api + "revision/")) return describe(request.path.substr(api.size() + 9));
    if (request.path.starts_with(api + "tree/")) return tree();
    const std::string resolve = "/" + repository() + "/resolve/";
    const std::string cached = "/api/resolve-cache/models/" + repository() + "/";
    const bool direct = request.path.starts_with(cached);
    if (!direct && !request.path.starts_with(resolve)) return error(401, "RepoNotFound");
    const std::string rest = request.path.substr(direct ? cached.size() : resolve.size());
    const size_t slash = rest.find('/');
    const std::string path = slash == std::string::npos ? "" : rest.substr(slash + 1);
    const auto found = files_.find(path);
    if (found == files_.end()) return error(404, "EntryNotFound");
    const File& file = *found->second;
    if (direct) return with_commit(range_reply(request, file));
    ServerReply reply;
    reply.status = file.lfs ? 302 : 307;
    reply.headers = {"Location: " +
                     (file.lfs ? storage() + "/blob/" + file.sha256 : cached + std::string(commit) + "/" + path)};
    if (file.lfs) {
      reply.headers.push_back(fmt::format("X-Linked-Etag: \"{}\"", file.sha256));
      reply.headers.push_back(fmt::format("X-Linked-Size: {}", file.bytes.size()));
    }
    return with_commit(reply);
  }

 private:
  static ServerReply with_commit(ServerReply reply) {
    reply.headers.push_back(std::string("X-Repo-Commit: ") + commit);
    return reply;
  }

  static ServerReply json_reply(const nlohmann::json& document) {
    ServerReply reply;
    reply.headers = {"Content-Type: application/json"};
    reply.own = document.dump();
    reply.body = reply.own;
    return reply;
  }

  [[nodiscard]] ServerReply describe(const std::string& revision) const {
    if (revision != "main" && revision != commit) return error(404, "RevisionNotFound");
    nlohmann::json siblings = nlohmann::json::array();
    for (const auto& [path, file] : files_) siblings.push_back({{"rfilename", path}});
    for (const std::string& path : listed_) siblings.push_back({{"rfilename", path}});
    return json_reply(
        {{"id", repository()}, {"sha", commit}, {"siblings", siblings}, {"tags", nlohmann::json::array()}});
  }

  [[nodiscard]] ServerReply tree() const {
    nlohmann::json entries = nlohmann::json::array();
    for (const auto& [path, file] : files_) {
      nlohmann::json entry = {{"type", "file"}, {"path", path}, {"size", file->bytes.size()}, {"oid", file->sha1}};
      if (file->lfs) entry["lfs"] = {{"oid", file->sha256}, {"size", file->bytes.size()}, {"pointerSize", 134}};
      entries.push_back(entry);
    }
    return json_reply(entries);
  }

  void add(const std::string& path, const std::shared_ptr<File>& file) {
    const auto bytes = std::as_bytes(std::span(file->bytes));
    hub::FileHash sha1(hub::HashKind::git_sha1, bytes.size());
    sha1.update(bytes);
    file->sha1 = sha1.finish();
    hub::FileHash sha256(hub::HashKind::sha256, bytes.size());
    sha256.update(bytes);
    file->sha256 = sha256.finish();
    const std::scoped_lock lock(files_mutex_);
    if (files_.contains(path)) retired_.push_back(files_.at(path));
    files_[path] = file;
  }

  void listen_at(size_t number) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<uint32_t>(number));
    socklen_t length = sizeof address;
    if (socket < 0 || ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket, 64) != 0 || ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      throw std::runtime_error("can't listen on the loopback");
    }
    listeners_[number] = socket;
    ports_[number] = ntohs(address.sin_port);
    acceptors_[number] = std::thread([this, number, socket] {
      while (!stopping_) {
        const int connection = ::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC);
        if (connection < 0) continue;
        ++connections_;
        ++alive_;
        {
          const std::scoped_lock lock(mutex_);
          open_.insert(connection);
        }
        std::thread([this, number, connection] { serve(connection, number == 1); }).detach();
      }
    });
  }

  void serve(int socket, bool storage_port) {
    const int yes = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    std::string received;
    while (!stopping_) {
      const auto request = read_request(socket, received);
      if (!request) break;
      ServerRequest copy = *request;
      copy.storage = storage_port || copy.proxied_host == storage();
      Intercept special;
      {
        const std::scoped_lock lock(mutex_);
        requests_.push_back(copy);
        special = intercept_;
      }
      std::optional<ServerReply> reply = special ? special(copy) : std::nullopt;
      if (!reply) reply = answer(copy);
      if (!reply->own.empty()) reply->body = reply->own;
      if (!write_reply(socket, *reply, copy.method == "HEAD")) break;
    }
    {
      const std::scoped_lock lock(mutex_);
      open_.erase(socket);
    }
    ::close(socket);
    --alive_;
  }

  static std::optional<ServerRequest> read_request(int socket, std::string& received) {
    size_t end = 0;
    while ((end = received.find("\r\n\r\n")) == std::string::npos) {
      char buffer[8192];
      const ssize_t count = ::recv(socket, buffer, sizeof buffer, 0);
      if (count <= 0) return std::nullopt;
      received.append(buffer, static_cast<size_t>(count));
    }
    ServerRequest request;
    size_t line = received.find("\r\n");
    const std::string first = received.substr(0, line);
    request.method = first.substr(0, first.find(' '));
    request.path = first.substr(request.method.size() + 1);
    request.path.resize(request.path.find(' '));
    if (request.path.starts_with("http://")) {  // as a proxy is asked
      const size_t slash = request.path.find('/', 7);
      request.proxied_host = request.path.substr(0, slash);
      request.path.erase(0, slash);
    }
    while (line < end) {
      const size_t next = received.find("\r\n", line + 2);
      const std::string text = received.substr(line + 2, next - line - 2);
      std::string name = text.substr(0, text.find(':'));
      std::ranges::transform(name, name.begin(), ::tolower);
      request.headers[name] = text.size() > name.size() + 2 ? text.substr(name.size() + 2) : "";
      line = next;
    }
    received.erase(0, end + 4);
    return request;
  }

  /// Whether the connection goes on.
  bool write_reply(int socket, const ServerReply& reply, bool head_only) {
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, reply.status < 400 ? "OK" : "No");
    for (const std::string& line : reply.headers) head += line + "\r\n";
    if (!reply.endless) head += fmt::format("Content-Length: {}\r\n", reply.announced.value_or(reply.body.size()));
    head += "\r\n";
    if (!write_all(socket, head)) return false;
    if (head_only) return true;
    std::string_view body = reply.body.substr(0, std::min<uint64_t>(reply.body.size(), reply.cut_after));
    while (!body.empty()) {
      const std::string_view block = body.substr(0, reply.block);
      if (!write_all(socket, block)) return false;
      body_bytes_ += block.size();
      body.remove_prefix(block.size());
      if (reply.per_block.count() > 0) std::this_thread::sleep_for(reply.per_block);
    }
    const std::string zeros(reply.endless ? reply.block : 0, '\0');
    while (reply.endless && !stopping_) {
      if (!write_all(socket, zeros)) return false;
      body_bytes_ += zeros.size();
    }
    return reply.cut_after >= reply.body.size() && reply.announced.value_or(reply.body.size()) == reply.body.size();
  }

  static bool write_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }

  mutable std::mutex files_mutex_;
  std::map<std::string, std::shared_ptr<File>> files_;  // guarded by files_mutex_, as the following
  std::vector<std::shared_ptr<File>> retired_;
  std::vector<std::string> listed_;
  std::string token_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::chrono::microseconds> throttle_{};
  std::atomic<uint64_t> connections_{0}, body_bytes_{0};
  std::atomic<int> alive_{0};
  mutable std::mutex mutex_;
  std::vector<ServerRequest> requests_;  // guarded by mutex_, as the following
  Intercept intercept_;
  std::set<int> open_;
  int listeners_[2] = {-1, -1};
  uint16_t ports_[2] = {};
  std::thread acceptors_[2];
};

}  // namespace prosa::test
