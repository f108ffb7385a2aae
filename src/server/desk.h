// Where requests for replies wait, and who computes them: a bounded queue for each API key, and a few workers.
//
// Knows messages and pieces, and neither HTTP nor any dialect: what is said goes to a ReplyWriter. The workers' Chats
// stand on one Model, whose scheduler computes their steps together. Keys take turns. Invariant: a client that goes
// away is forgotten at once where it waits, and within a step where its reply is under way. Thread safety: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "prosa/chat.h"
#include "server/conversations.h"
#include "server/exchange.h"
#include "server/metrics.h"
#include "server/refusal.h"

namespace prosa::server {

/// Options to be scored in place of a reply (choice.h).
struct Scoring {
  std::vector<std::string> options = {};
  ChooseConfig config = {};
};

/// What every dialect's request comes down to.
struct Generation {
  std::vector<Message> messages = {};
  std::vector<Tool> tools = {};
  SamplingConfig sampling = {};
  int choices = 1;                      // replies to the same prompt, one after the other
  std::optional<Scoring> scoring = {};  // then nothing is generated
};

/// What became of one choice.
struct Outcome {
  std::string text;
  std::string thought;
  std::vector<ToolCall> calls;
  ReplyStats stats;
  double waited_ms = 0;  // for a worker
  double total_ms = 0;   // since the request came
};

/// Puts what is said into a dialect's words. Used by one thread at a time; fail() may come after anything.
class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;
  /// Before a choice's first piece; its prompt has been read, and `stats` counts it.
  virtual void begin(int choice, const ReplyStats& stats) = 0;
  /// False: nobody listens any more.
  virtual bool piece(int choice, const Piece& piece) = 0;
  virtual void end(int choice, const Outcome& outcome) = 0;
  /// All choices are complete.
  virtual void done(const std::vector<Outcome>& outcomes) = 0;
  /// In place of all of these, for Generation::scoring.
  virtual void scored(const Choice& /*choice*/) {}
  virtual void fail(const Refusal& refusal) = 0;
};

class Desk {
 public:
  struct Limits {
    int replies = 8;   // computed at a time
    int waiting = 64;  // of all keys together
    size_t keys = 1;   // that share that room
    size_t conversations = 16;
    int64_t conversation_bytes = int64_t{1} << 30;
  };
  /// `metrics` outlives the desk.
  Desk(const Model& model, const Limits& limits, Metrics& metrics);
  ~Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  /// Refusal: there is no room (503), or the key has used up its share of it (429), with the seconds to wait.
  void submit(size_t domain, Generation generation, std::shared_ptr<Exchange> exchange,
              std::unique_ptr<ReplyWriter> writer);
  /// Ends replies under way, refuses what waits, and returns when no worker runs.
  void stop() noexcept;

  /// A reply that waits or is under way.
  struct Slot {
    bool running = false;
    bool reading = false;  // its prompt; false: it speaks, or waits
    size_t messages = 0;
    int64_t prompt_tokens = 0;  // 0 until the prompt has been read
    int64_t cached_tokens = 0;
    int64_t generated_tokens = 0;
    double seconds = 0;  // since the request came
  };
  /// Of one domain; those that run in front.
  [[nodiscard]] std::vector<Slot> slots(size_t domain) const;
  /// Tokens of prompts that wait, or are being read, and that no warm conversation holds: an estimate from their bytes,
  /// for the prompts have not been tokenized yet.
  [[nodiscard]] int64_t uncached_tokens_waiting() const;
  [[nodiscard]] size_t waiting() const;
  [[nodiscard]] size_t running() const;
  /// Nothing waits and nothing is computed.
  [[nodiscard]] bool idle() const;
  /// Of those that run: past their prompts, so that their steps are computed together.
  [[nodiscard]] size_t speaking() const;
  [[nodiscard]] Conversations& conversations() noexcept { return conversations_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    size_t domain = 0;
    Generation generation;
    std::shared_ptr<Exchange> exchange;
    std::unique_ptr<ReplyWriter> writer;
    Clock::time_point came = Clock::now();
    int64_t new_tokens = 0;  // of the prompt: about so many are in no warm conversation
    // How far the reply is; written by its worker, read by whoever asks.
    std::atomic<bool> speaks = false;
    std::atomic<int64_t> prompt_tokens = 0;
    std::atomic<int64_t> cached_tokens = 0;
    std::atomic<int64_t> generated_tokens = 0;
  };
  struct Running {
    const Job* job;
    Chat* chat;  // to be cancelled at the end
  };
  static Slot slot_of(const Job& job, bool running);

  void work();
  std::shared_ptr<Job> next_job();  // null: the desk is closed
  void serve(Job& job);
  void reply(Job& job);
  void score(Job& job, Conversations::Lent& lent);
  Outcome choose_one(Job& job, Conversations::Lent& lent, int choice);
  void withdraw(const std::shared_ptr<Job>& job);
  [[nodiscard]] int seconds_to_wait() const;  // under the lock

  const Limits limits_;
  Metrics& metrics_;
  Conversations conversations_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable arrived_;
  std::map<size_t, std::deque<std::shared_ptr<Job>>> queues_;  // by key; none is empty
  size_t last_domain_ = 0;                                     // whose turn it was
  size_t waiting_ = 0;
  size_t serving_ = 0;  // taken by a worker and not over
  std::vector<Running> running_;
  double mean_reply_seconds_ = 2;  // of the last ones
  bool closed_ = false;
  std::vector<std::jthread> workers_;
};

}  // namespace prosa::server
