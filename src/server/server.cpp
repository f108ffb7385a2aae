// The public Server: a listener in front, clerks who read requests, the desk behind.
//
// The listener's thread must not wait, and reading a body of megabytes takes a while: so two clerks do that. A request
// for a reply goes from them to the desk; every other is answered by its clerk. Order of destruction: connections are
// cut first, then the threads end that may still talk to them, and the listener goes last.
#include "prosa/server.h"

#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/boundary.h"
#include "server/dialects.h"
#include "server/guard.h"
#include "server/json_text.h"
#include "server/listener.h"
#include "server/service.h"

namespace prosa {
namespace server {
namespace {

constexpr int kClerks = 2;

/// A few threads that work off a queue. The queue is bounded by the number of connections, each of which has at most
/// one request in it.
class Clerks {
 public:
  Clerks() {
    for (int i = 0; i < kClerks; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Clerks() { stop(); }
  Clerks(const Clerks&) = delete;
  Clerks& operator=(const Clerks&) = delete;

  void add(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      tasks_.push_back(std::move(task));
    }
    added_.notify_one();
  }
  /// What was not begun is dropped.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      tasks_.clear();
    }
    added_.notify_all();
    threads_.clear();
  }

 private:
  void work() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        added_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
        if (closed_) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::function<void()>> tasks_;
  bool closed_ = false;
  std::vector<std::jthread> threads_;
};

void require(bool ok, const char* field, const std::string& what) {
  if (!ok) throw Error(ErrorCode::invalid_argument, what, field);
}

void validate_options(const ServerOptions& options) {
  const auto within = [](const char* field, int64_t value, int64_t least, int64_t most) {
    require(value >= least && value <= most, field, fmt::format("is {}; allowed are {} to {}", value, least, most));
  };
  constexpr int64_t kDay = 86'400'000;
  within("replies", options.replies, 1, 256);
  within("waiting", options.waiting, 0, 100'000);
  within("conversations", options.conversations, 0, 100'000);
  within("conversation_bytes", options.conversation_bytes, 0, int64_t{1} << 50);
  within("connections", options.connections, 1, 100'000);
  within("head_bytes", static_cast<int64_t>(options.head_bytes), 1024, int64_t{1} << 20);
  within("body_bytes", static_cast<int64_t>(options.body_bytes), 1024, int64_t{64} << 20);
  within("head_time", options.head_time.count(), 1, kDay);
  within("body_time", options.body_time.count(), 1, kDay);
  within("idle_time", options.idle_time.count(), 1, kDay);
  within("write_time", options.write_time.count(), 1, kDay);
  within("reply_time", options.reply_time.count(), 1, 30 * kDay);
  within("beat", options.beat.count(), 1, kDay);
  validate(options.sampling);
}

ListenerOptions listener_options(const ServerOptions& options) {
  ListenerOptions listener;
  listener.address = options.address;
  listener.port = options.port;
  listener.connections = static_cast<size_t>(options.connections);
  listener.head_bytes = options.head_bytes;
  listener.body_bytes = options.body_bytes;
  listener.head_time = options.head_time;
  listener.body_time = options.body_time;
  listener.idle_time = options.idle_time;
  listener.write_time = options.write_time;
  listener.beat = options.beat;
  return listener;
}

/// Names the status in the words of whoever reads the dialect.
const char* code_of(int status) {
  switch (status) {
    case 408: return "request_timeout";
    case 413: return "request_too_large";
    case 431: return "headers_too_large";
    case 503: return "overloaded";
    default: return "invalid_request";
  }
}

}  // namespace
}  // namespace server

struct Server::State {
  State(const Model& model, const ServerOptions& options)
      : log(options.log), service(model, options), guard({options.api_keys, options.origins, options.hosts}) {
    server::add_plain(router, service);
    server::add_openai(router, service);
    server::add_openai_completions(router, service);
    server::add_ollama(router, service);
    server::add_anthropic(router, service);
    listener = std::make_unique<server::Listener>(server::listener_options(options), hooks());
  }

  ~State() {
    if (listener) listener->drain(std::chrono::milliseconds(0));
    clerks.stop();
    service.desk().stop();
  }

  server::Hooks hooks() {
    server::Hooks hooks;
    hooks.admit = [this](server::Request& request) { return guard.check(request); };
    hooks.decorate = [this](const server::Request& request) { return guard.cors(request); };
    hooks.handle = [this](server::Request request, std::shared_ptr<server::Exchange> exchange) {
      auto kept = std::make_shared<server::Request>(std::move(request));
      clerks.add([this, kept, exchange] { router.route(*kept, exchange); });
    };
    hooks.refuse = [](const server::Request& request, int status, const std::string& message) {
      const server::Refusal refusal(status, server::code_of(status), message, "", status == 503 ? 1 : 0);
      return server::write_refusal(server::dialect_of(request.path), refusal, request.id);
    };
    hooks.finished = [this](const server::Finished& finished) { report(finished); };
    return hooks;
  }

  void report(const server::Finished& finished) {
    const server::Request& request = finished.request;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - request.begun).count();
    const std::string path = router.label_of(request.path);
    service.metrics().count_request(path, finished.status);
    service.metrics().request_time.observe(seconds);
    if (!log) return;
    server::Json line = {{"time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
                         {"request", request.id},
                         {"method", request.method},
                         {"path", path},
                         {"status", finished.status},
                         {"bytes", finished.bytes},
                         {"ms", static_cast<int64_t>(seconds * 1000)},
                         {"key", request.domain}};
    log(server::to_text(line));
  }

  std::function<void(std::string_view)> log;
  server::Service service;
  server::Guard guard;
  server::Router router;
  std::unique_ptr<server::Listener> listener;
  server::Clerks clerks;
};

Server::Server(const Model& model, const ServerOptions& options) {
  at_boundary([&] {
    server::validate_options(options);
    state_ = std::make_unique<State>(model, options);
  });
}

Server::~Server() = default;

uint16_t Server::port() const noexcept { return state_->listener->port(); }
std::string Server::model_name() const { return state_->service.name(); }
void Server::drain(std::chrono::milliseconds patience) {
  at_boundary([&] { state_->listener->drain(patience); });
}

}  // namespace prosa
