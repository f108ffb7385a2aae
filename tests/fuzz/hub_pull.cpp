// Input: raw answers of a server, byte for byte, one for each connection in order. A pull ends in an Error or in a
// snapshot whose files are there; nothing is written beside the cache.
//
// A server of its own on the loopback, which is also the proxy for every other address: whatever an answer redirects
// to, nothing leaves the machine.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "fuzz.h"
#include "hub/resolve.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

constexpr size_t kMaxAnswers = 16;

class Server {
 public:
  Server() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    require(listener_ >= 0 && ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                ::listen(listener_, 64) == 0 &&
                ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0,
            "the loopback can be listened on");
    endpoint_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    for (const char* name : {"http_proxy", "https_proxy", "all_proxy"}) ::setenv(name, endpoint_.c_str(), 1);
    for (const char* name : {"no_proxy", "NO_PROXY"}) ::unsetenv(name);
    std::thread([this] {
      while (true) serve();
    }).detach();
  }

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  void answer_with(std::vector<std::string> answers) {
    const std::scoped_lock lock(mutex_);
    answers_ = std::move(answers);
    next_ = 0;
  }

 private:
  void serve() {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      request.append(buffer, static_cast<size_t>(count));
    }
    std::string answer;
    {
      const std::scoped_lock lock(mutex_);
      if (next_ < answers_.size()) answer = answers_[next_++];
    }
    for (size_t at = 0; at < answer.size();) {
      const ssize_t count = ::send(connection, answer.data() + at, answer.size() - at, MSG_NOSIGNAL);
      if (count <= 0) break;
      at += static_cast<size_t>(count);
    }
    ::close(connection);
  }

  int listener_ = -1;
  std::string endpoint_;
  std::mutex mutex_;
  std::vector<std::string> answers_;
  size_t next_ = 0;
};

void check_report(const PullReport& report, const std::filesystem::path& cache) {
  require(!report.files.empty(), "a model has files");
  const std::string root = std::filesystem::canonical(cache).string() + "/";
  for (const PulledFile& file : report.files) {
    const auto path = std::filesystem::path(report.folder) / file.name;
    require(std::filesystem::is_regular_file(path), "a file of the report is there", file.name);
    require(std::filesystem::canonical(path).string().starts_with(root), "it lies in the cache", file.name);
    require(static_cast<int64_t>(std::filesystem::file_size(path)) == file.bytes, "it has its size", file.name);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server& server = *new Server;  // its thread lives as long as the process
  const auto parts = parts_of(text_of(data, size), kMaxAnswers);
  server.answer_with({parts.begin(), parts.end()});
  const auto cache = folder() / "cache";
  std::filesystem::remove_all(cache);
  hub::Settings settings;
  settings.endpoint = server.endpoint();
  settings.cache = cache;
  settings.tries = 2;
  settings.first_wait = std::chrono::milliseconds(0);
  settings.longest_wait = std::chrono::seconds(0);
  settings.stall = std::chrono::seconds(2);
  settings.connections = 1;
  settings.smallest_piece = 200;
  const hub::HubName name{"some", "model", "", "main"};
  error_of([&] { check_report(hub::pull(name, settings, {}), cache); });
  // What an earlier half has left is gone on with.
  error_of([&] { check_report(hub::pull(name, settings, {}), cache); });
  const auto entries = std::filesystem::directory_iterator(folder());
  require(std::distance(begin(entries), end(entries)) <= 1, "nothing is written beside the cache");
  return 0;
}
