// The models that a server has by name: which of them are in memory, and which wait to be.
//
// Each that is loaded stands with its own Service and its own routes (a Resident), so that dialects know of one model
// alone. No HTTP: a request that has to wait for its model leaves a function behind. Invariants: a model that somebody
// holds, or whose desk has work, is not unloaded; the weights that are loaded stay below the budget, but for one model
// that is always allowed. Thread safety: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "prosa/server.h"
#include "server/refusal.h"
#include "server/router.h"
#include "server/service.h"

namespace prosa::server {

/// A model in memory, and what is answered by it.
struct Resident {
  /// Errors: those of Chat's constructor.
  Resident(const Model& model, const ServerOptions& options, Metrics& metrics);
  Service service;
  Router router;  // its handlers refer to the service
};

/// What is known of a model, loaded or not.
struct ListedModel {
  std::string name;
  bool loaded = false;
  bool loading = false;
  double progress = 0;  // of loading, 0..1
  ModelInfo info = {};  // empty until it was loaded once
  int64_t context = 0;  // the same
  MemoryFootprint memory = {};
};

class Models {
 public:
  using Hold = std::shared_ptr<Resident>;
  /// Tells of a model that was "loaded", "unloaded" or "failed", after some seconds of work. From any thread.
  using Event = std::function<void(const std::string& name, std::string_view what, double seconds)>;
  /// What a request that waited gets: its model, or why it is not to be had.
  using Later = std::function<void(Hold hold, const Refusal* refusal)>;

  /// One that is loaded and stays; it answers by whatever name it is asked.
  Models(const Model& model, const ServerOptions& options, Metrics& metrics);
  /// The first is loaded here, the others when they are asked for. Errors: invalid_argument (no model, a name that is
  /// empty or twice there), those of loading the first.
  Models(const std::vector<ServedModel>& models, const ServerOptions& options, Metrics& metrics, Event event);
  ~Models();
  Models(const Models&) = delete;
  Models& operator=(const Models&) = delete;

  [[nodiscard]] bool several() const noexcept { return entries_.size() > 1; }
  /// Of the one that answers requests without a name.
  [[nodiscard]] const std::string& first_name() const noexcept;
  /// The model of this name ("": the first). Null: it is not loaded; `later` is called when it is, from a thread of the
  /// Models' own, which it must not hold up. It is dropped when the server ends. Refusal: no such model (404), or too
  /// many wait already (503).
  Hold get(std::string_view name, Later later);
  [[nodiscard]] std::vector<ListedModel> list() const;
  [[nodiscard]] std::vector<Hold> loaded() const;
  /// Ends what loads, and every reply. Returns when no thread of theirs runs.
  void stop() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry;

  [[nodiscard]] Entry& find(std::string_view name) const;  // under the lock
  void keep();
  void load(Entry& entry, std::unique_lock<std::mutex>& lock);
  Hold load_now(Entry& entry);
  void accept(Entry& entry, Hold hold);  // under the lock
  bool wait_for_room(Entry& entry, std::unique_lock<std::mutex>& lock);
  void unload(Entry& entry, std::unique_lock<std::mutex>& lock);
  void unload_unused(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] Entry* oldest_wanted() const;
  [[nodiscard]] Entry* least_used(const Entry& but) const;
  [[nodiscard]] int64_t loaded_bytes() const;

  const ServerOptions options_;
  Metrics& metrics_;
  const Event event_;
  std::atomic<bool> cancel_ = false;
  mutable std::mutex mutex_;  // guards what follows, and what is in entries
  std::condition_variable wake_;
  std::vector<std::unique_ptr<Entry>> entries_;  // none comes or goes after construction
  size_t waiting_ = 0;
  bool closed_ = false;
  std::thread keeper_;
};

}  // namespace prosa::server
