// The public Server: a listener in front, clerks who read requests, models with their desks behind.
//
// The listener's thread must not wait, and reading a body of megabytes takes a while: so two clerks do that. A request
// for a reply goes from them to its model's desk; every other is answered by its clerk. Order of destruction:
// connections are cut first, then the threads end that may still talk to them, and the listener goes last.
#include "prosa/server.h"

#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/boundary.h"
#include "server/dialects.h"
#include "server/guard.h"
#include "server/json_text.h"
#include "server/listener.h"
#include "server/listing.h"
#include "server/log_writer.h"
#include "server/model_field.h"
#include "server/models.h"

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
  within("model_bytes", options.model_bytes, 0, int64_t{1} << 50);
  within("replies", options.replies, 1, 256);
  within("waiting", options.waiting, 0, 100'000);
  within("conversations", options.conversations, 0, 100'000);
  within("conversation_bytes", options.conversation_bytes, 0, int64_t{1} << 50);
  within("response_bytes", options.response_bytes, 0, int64_t{1} << 50);
  within("connections", options.connections, 1, 100'000);
  within("head_bytes", static_cast<int64_t>(options.head_bytes), 1024, int64_t{1} << 20);
  within("body_bytes", static_cast<int64_t>(options.body_bytes), 1024, int64_t{64} << 20);
  within("head_time", options.head_time.count(), 1, kDay);
  within("body_time", options.body_time.count(), 1, kDay);
  within("idle_time", options.idle_time.count(), 1, kDay);
  within("write_time", options.write_time.count(), 1, kDay);
  within("reply_time", options.reply_time.count(), 1, 30 * kDay);
  within("beat", options.beat.count(), 1, kDay);
  require(options.idle_unload_seconds >= 0 && options.idle_unload_seconds <= 1e9, "idle_unload_seconds",
          "must be seconds, or 0");
  require(options.tls_certificate.empty() == options.tls_key.empty(),
          options.tls_key.empty() ? "tls_key" : "tls_certificate", "is missing: TLS needs a certificate and its key");
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
  listener.tls_certificate = options.tls_certificate;
  listener.tls_key = options.tls_key;
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
      : log(options.log), models(model, options, metrics), guard(rules_of(options)) {
    open(options);
  }
  State(const std::vector<ServedModel>& served, const ServerOptions& options)
      : log(options.log),
        models(served, options, metrics,
               [this](const std::string& name, std::string_view what, double seconds) { tell(name, what, seconds); }),
        guard(rules_of(options)) {
    open(options);
  }

  static server::GuardRules rules_of(const ServerOptions& options) {
    return {options.api_keys, options.origins, options.hosts};
  }

  void open(const ServerOptions& options) {
    server::add_page(front);
    server::add_listing(front, models, metrics);
    const server::Models::Hold first = models.loaded().front();
    for (const std::string& path : first->router.paths()) by_model.insert(path);
    listener = std::make_unique<server::Listener>(server::listener_options(options), hooks());
  }

  ~State() {
    if (listener) listener->drain(std::chrono::milliseconds(0));
    clerks.stop();
    models.stop();
  }

  /// On a clerk's thread: by the front, or by the model that is asked for, as soon as it is loaded.
  void serve(const std::shared_ptr<server::Request>& request, const std::shared_ptr<server::Exchange>& exchange) {
    if (front.knows(request->path) || !by_model.contains(server::route_of(request->path))) {
      return front.route(*request, exchange);
    }
    try {
      const std::string name = models.several() ? server::model_of(*request) : "";
      const auto later = [this, request, exchange](server::Models::Hold hold, const server::Refusal* refusal) {
        if (!hold) {
          exchange->respond(server::write_refusal(server::dialect_of(request->path), *refusal, request->id));
        } else {
          clerks.add([hold, request, exchange] { hold->router.route(*request, exchange); });
        }
      };
      if (const server::Models::Hold hold = models.get(name, later)) hold->router.route(*request, exchange);
    } catch (...) {
      server::Router::refuse(*request, *exchange);
    }
  }

  server::Hooks hooks() {
    server::Hooks hooks;
    hooks.admit = [this](server::Request& request) { return guard.check(request); };
    hooks.decorate = [this](const server::Request& request) { return guard.cors(request); };
    hooks.handle = [this](server::Request request, std::shared_ptr<server::Exchange> exchange) {
      auto kept = std::make_shared<server::Request>(std::move(request));
      clerks.add([this, kept, exchange] { serve(kept, exchange); });
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
    const std::string route = server::route_of(request.path);
    const std::string path = by_model.contains(route) ? route : front.label_of(request.path);
    metrics.count_request(path, finished.status);
    metrics.request_time.observe(seconds);
    if (!log.enabled()) return;
    server::Json line = {{"time", now_text()},
                         {"request", request.id},
                         {"method", request.method},
                         {"path", path},
                         {"status", finished.status},
                         {"bytes", finished.bytes},
                         {"ms", static_cast<int64_t>(seconds * 1000)},
                         {"key", request.domain}};
    write(line);
  }

  /// Of a model that came or went.
  void tell(const std::string& name, std::string_view what, double seconds) {
    if (!log.enabled()) return;
    write({{"time", now_text()}, {"model", name}, {"event", what}, {"ms", static_cast<int64_t>(seconds * 1000)}});
  }

  static std::string now_text() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

  void write(const server::Json& line) { log.add(server::to_text(line)); }

  server::LogWriter log;
  server::Metrics metrics;
  server::Models models;
  server::Guard guard;
  server::Router front;            // what is answered without a model
  std::set<std::string> by_model;  // paths that a model answers
  std::unique_ptr<server::Listener> listener;
  server::Clerks clerks;
};

Server::Server(const Model& model, const ServerOptions& options) {
  at_boundary([&] {
    server::validate_options(options);
    state_ = std::make_unique<State>(model, options);
  });
}

Server::Server(const std::vector<ServedModel>& models, const ServerOptions& options) {
  at_boundary([&] {
    server::validate_options(options);
    state_ = std::make_unique<State>(models, options);
  });
}

Server::~Server() = default;

uint16_t Server::port() const noexcept { return state_->listener->port(); }
std::string Server::model_name() const { return state_->models.first_name(); }
void Server::drain(std::chrono::milliseconds patience) {
  at_boundary([&] {
    state_->listener->drain(patience);
    state_->log.flush();
  });
}

}  // namespace prosa
