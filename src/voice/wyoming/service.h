// One client's connection to prosa as a Wyoming program, from its first event to its last.
//
// Not the listener (listener.cpp), which gives each connection a thread. Invariant: whatever a client sends, serve()
// returns within its limits and throws nothing.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "prosa/wyoming.h"
#include "voice/wyoming/connection.h"

namespace prosa::wyoming {

/// Engines that were made and are not in use. From any thread.
template <typename Engine>
class Pool {
 public:
  std::unique_ptr<Engine> take(const std::function<std::unique_ptr<Engine>()>& make) {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        auto engine = std::move(idle_.back());
        idle_.pop_back();
        return engine;
      }
    }
    return make();
  }
  void give(std::unique_ptr<Engine> engine) {
    const std::scoped_lock lock(mutex_);
    if (idle_.size() < kMaxIdle) idle_.push_back(std::move(engine));
  }

 private:
  static constexpr size_t kMaxIdle = 4;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Engine>> idle_;  // guarded by mutex_
};

/// What all connections share.
struct Shared {
  WyomingService service;
  WyomingListener::Limits limits;
  Pool<SpeechToText> ears = {};
  Pool<TextToSpeech> mouths = {};
};

/// `number`: the connection's own.
void serve(Connection& connection, Shared& shared, uint64_t number) noexcept;

}  // namespace prosa::wyoming
