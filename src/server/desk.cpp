// The queue and the workers (desk.h).
#include "server/desk.h"

#include <algorithm>
#include <cmath>

#include "prosa/error.h"

namespace prosa::server {
namespace {

constexpr int kMaxRetryAfter = 60;  // seconds

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

Refusal ending() { return {503, "shutting_down", "The server is ending.", "", 1}; }

/// Bytes of a message's text for one token of it, about: English has four, and most other scripts fewer.
constexpr int64_t kBytesPerToken = 4;

int64_t estimate_tokens(const std::vector<Message>& messages, size_t first) {
  int64_t bytes = 0;
  for (size_t i = first; i < messages.size(); ++i) {
    bytes += static_cast<int64_t>(messages[i].content.size());
    for (const ToolCall& call : messages[i].tool_calls) {
      bytes += static_cast<int64_t>(call.name.size() + call.arguments.size());
    }
  }
  return (bytes + kBytesPerToken - 1) / kBytesPerToken;
}

Trail trail_of(const Generation& generation) {
  Trail trail(generation.tools);
  for (const Message& message : generation.messages) trail.add(message);
  return trail;
}

/// While it lives, a client that goes away cancels the Chat.
class CancelWhenGone {
 public:
  CancelWhenGone(Exchange& exchange, Chat& chat) : exchange_(exchange) {
    exchange.on_gone([&chat] { chat.cancel(); });
  }
  ~CancelWhenGone() { exchange_.on_gone({}); }
  CancelWhenGone(const CancelWhenGone&) = delete;
  CancelWhenGone& operator=(const CancelWhenGone&) = delete;

 private:
  Exchange& exchange_;
};

}  // namespace

Desk::Desk(const Model& model, const Limits& limits, Metrics& metrics)
    : limits_(limits),
      metrics_(metrics),
      conversations_(model, std::max(limits.conversations, static_cast<size_t>(limits.replies)),
                     limits.conversation_bytes) {
  for (int i = 0; i < limits_.replies; ++i) workers_.emplace_back([this] { work(); });
}

Desk::~Desk() { stop(); }

int Desk::seconds_to_wait() const {
  const double seconds = mean_reply_seconds_ * (static_cast<double>(waiting_) + 1) / limits_.replies;
  return std::clamp(static_cast<int>(std::ceil(seconds)), 1, kMaxRetryAfter);
}

void Desk::submit(size_t domain, Generation generation, std::shared_ptr<Exchange> exchange,
                  std::unique_ptr<ReplyWriter> writer) {
  auto job = std::make_shared<Job>();
  job->domain = domain;
  job->new_tokens = estimate_tokens(generation.messages, conversations_.common(domain, trail_of(generation)));
  job->generation = std::move(generation);
  job->exchange = std::move(exchange);
  job->writer = std::move(writer);
  // Before it waits: from then on the notice is the worker's. Holds the job weakly, for the exchange is the job's own.
  job->exchange->on_gone([this, weak = std::weak_ptr<Job>(job)] {
    if (const auto gone = weak.lock()) withdraw(gone);
  });
  {
    const std::lock_guard lock(mutex_);
    if (closed_) throw ending();
    const auto room = static_cast<size_t>(limits_.waiting);
    const bool idle = running_.size() + waiting_ < static_cast<size_t>(limits_.replies);
    if (!idle && waiting_ >= room) {
      throw Refusal(503, "overloaded", "There are as many requests waiting as the server takes.", "",
                    seconds_to_wait());
    }
    const auto own = queues_.find(domain);
    const size_t share = std::max<size_t>(1, room / std::max<size_t>(1, limits_.keys));
    if (!idle && own != queues_.end() && own->second.size() >= share && limits_.keys > 1) {
      throw Refusal(429, "rate_limit_exceeded", "This key has as many requests waiting as one key may have.", "",
                    seconds_to_wait());
    }
    queues_[domain].push_back(job);
    ++waiting_;
  }
  arrived_.notify_one();
}

void Desk::withdraw(const std::shared_ptr<Job>& job) {
  const std::lock_guard lock(mutex_);
  const auto queue = queues_.find(job->domain);
  if (queue == queues_.end()) return;
  const size_t removed = std::erase(queue->second, job);
  waiting_ -= removed;
  if (queue->second.empty()) queues_.erase(queue);
}

/// The oldest job of the key after the one whose turn it was.
std::shared_ptr<Desk::Job> Desk::next_job() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return closed_ || !queues_.empty(); });
  if (queues_.empty()) return nullptr;
  auto queue = queues_.upper_bound(last_domain_);
  if (queue == queues_.end()) queue = queues_.begin();
  last_domain_ = queue->first;
  auto job = std::move(queue->second.front());
  queue->second.pop_front();
  --waiting_;
  ++serving_;
  if (queue->second.empty()) queues_.erase(queue);
  return job;
}

void Desk::work() {
  while (const auto job = next_job()) {
    job->exchange->on_gone({});
    serve(*job);
    const std::lock_guard lock(mutex_);
    --serving_;
  }
}

void Desk::serve(Job& job) {
  try {
    if (job.exchange->gone()) return;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) throw ending();
    }
    reply(job);
  } catch (...) {
    const Refusal refusal = refusal_under_way();
    try {
      job.writer->fail(refusal);
    } catch (...) {
      // There is no memory even for saying so: the client sees its connection end.
      job.exchange->leave();
    }
  }
}

void Desk::reply(Job& job) {
  Trail trail = trail_of(job.generation);
  const auto lent = conversations_.lend(job.domain, trail);
  std::vector<Outcome> outcomes;
  {
    const std::lock_guard lock(mutex_);
    running_.push_back({&job, &lent->chat()});
  }
  struct Ended {
    Desk& desk;
    Chat& chat;
    ~Ended() {
      const std::lock_guard lock(desk.mutex_);
      std::erase_if(desk.running_, [this](const Running& each) { return each.chat == &chat; });
    }
  } const ended{*this, lent->chat()};

  if (job.generation.scoring) {
    score(job, *lent);
    return lent->stands_at(std::move(trail));
  }
  for (int choice = 0; choice < job.generation.choices; ++choice) {
    outcomes.push_back(choose_one(job, *lent, choice));
    if (job.exchange->gone()) break;
  }
  Outcome& last = outcomes.back();
  {
    const std::lock_guard lock(mutex_);
    constexpr double kNew = 0.2;
    mean_reply_seconds_ += kNew * (last.total_ms / 1000 - mean_reply_seconds_);
  }
  trail.add({Role::assistant, last.text, {}, last.calls});
  lent->stands_at(std::move(trail));
  if (!job.exchange->gone()) job.writer->done(outcomes);
}

void Desk::score(Job& job, Conversations::Lent& lent) {
  const CancelWhenGone cancel(*job.exchange, lent.chat());
  const Scoring& scoring = *job.generation.scoring;
  const Choice choice =
      lent.chat().choose(job.generation.messages, scoring.options, scoring.config, job.generation.tools);
  job.writer->scored(choice);
}

Outcome Desk::choose_one(Job& job, Conversations::Lent& lent, int choice) {
  Outcome outcome;
  outcome.waited_ms = milliseconds(Clock::now() - job.came);
  SamplingConfig sampling = job.generation.sampling;
  if (sampling.seed) sampling.seed = *sampling.seed + static_cast<uint64_t>(choice);
  ReplyStream stream = lent.chat().generate_stream(job.generation.messages, sampling, job.generation.tools);
  const CancelWhenGone cancel(*job.exchange, lent.chat());
  {
    // stop() cancels what runs; what begins just then sees it here.
    const std::lock_guard lock(mutex_);
    if (closed_) throw ending();
  }
  Clock::time_point before = job.came;
  bool begun = false;
  bool listened = true;
  for (const Piece& piece : stream) {
    const Clock::time_point now = Clock::now();
    if (!begun) {
      metrics_.first_token.observe(milliseconds(now - job.came) / 1000);
      job.prompt_tokens = stream.stats().prompt_tokens;
      job.cached_tokens = stream.stats().cached_tokens;
      job.speaks = true;
      job.writer->begin(choice, stream.stats());
    } else {
      metrics_.between_pieces.observe(milliseconds(now - before) / 1000);
    }
    begun = true;
    before = now;
    job.generated_tokens = stream.stats().generated_tokens;
    if (piece.channel == Channel::thought) outcome.thought += piece.text;
    if (piece.channel == Channel::speech) outcome.text += piece.text;
    if (piece.call) outcome.calls.push_back(*piece.call);
    listened = job.writer->piece(choice, piece);
    if (!listened) break;
  }
  outcome.stats = stream.stats();
  if (!listened) outcome.stats.finish = FinishReason::cancelled;
  outcome.total_ms = milliseconds(Clock::now() - job.came);
  metrics_.count_reply(outcome.stats, outcome.waited_ms / 1000);
  const bool cut = outcome.stats.finish == FinishReason::cancelled && !job.exchange->gone() && listened;
  if (cut) throw ending();
  if (!begun) job.writer->begin(choice, outcome.stats);
  job.writer->end(choice, outcome);
  return outcome;
}

void Desk::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const Running& each : running_) each.chat->cancel();
  }
  arrived_.notify_all();
  workers_.clear();
}

Desk::Slot Desk::slot_of(const Job& job, bool running) {
  return {.running = running,
          .reading = running && !job.speaks,
          .messages = job.generation.messages.size(),
          .prompt_tokens = job.prompt_tokens,
          .cached_tokens = job.cached_tokens,
          .generated_tokens = job.generated_tokens,
          .seconds = milliseconds(Clock::now() - job.came) / 1000};
}

std::vector<Desk::Slot> Desk::slots(size_t domain) const {
  std::vector<Slot> slots;
  const std::lock_guard lock(mutex_);
  for (const Running& each : running_) {
    if (each.job->domain == domain) slots.push_back(slot_of(*each.job, true));
  }
  const auto queue = queues_.find(domain);
  if (queue == queues_.end()) return slots;
  for (const auto& job : queue->second) slots.push_back(slot_of(*job, false));
  return slots;
}

int64_t Desk::uncached_tokens_waiting() const {
  int64_t sum = 0;
  const std::lock_guard lock(mutex_);
  for (const Running& each : running_) sum += each.job->speaks ? 0 : each.job->new_tokens;
  for (const auto& [domain, queue] : queues_) {
    for (const auto& job : queue) sum += job->new_tokens;
  }
  return sum;
}

size_t Desk::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

bool Desk::idle() const {
  const std::lock_guard lock(mutex_);
  return waiting_ + serving_ == 0;
}

size_t Desk::speaking() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::ranges::count_if(running_, [](const Running& each) { return each.job->speaks.load(); }));
}

size_t Desk::running() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

}  // namespace prosa::server
