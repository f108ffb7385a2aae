// One reply under way: prefill, then token by token backend -> sampler -> text -> channels -> stop strings -> pieces.
//
// Pull-driven on the caller's thread: next() computes as much as one piece needs. Invariant: the engine's lease is held
// from construction until the reply has ended, failed, or this object dies; the session is usable afterwards.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "chat/channels.h"
#include "chat/deadline.h"
#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "chat/stop.h"
#include "prosa/chat.h"
#include "sampling/sampler.h"

namespace prosa::chat {

class ReplyRun {
 public:
  /// Plans and takes the lease; computes nothing yet. Errors: invalid_argument, bad_template, context_exceeded,
  /// not_loaded, busy.
  ReplyRun(std::shared_ptr<Engine> engine, std::span<const Message> messages, const SamplingConfig& sampling,
           std::span<const Tool> tools);
  ~ReplyRun();
  ReplyRun(const ReplyRun&) = delete;
  ReplyRun& operator=(const ReplyRun&) = delete;

  /// The next piece; nothing once the reply has ended. An Error ends the reply.
  std::optional<Piece> next();
  /// Ends the reply here, as if cancelled.
  void stop() noexcept;
  [[nodiscard]] const ReplyStats& stats() const noexcept { return stats_; }

 private:
  using Clock = std::chrono::steady_clock;

  void advance();
  void prefill();
  void close_thinking();
  void sample_one();
  void take(int32_t token, bool forced);
  bool is_margin(int32_t token);
  void route(std::vector<Piece> pieces);
  void finish(FinishReason reason);
  void end(FinishReason reason) noexcept;
  [[nodiscard]] int64_t room() const;
  /// Why the cancel flag is up.
  [[nodiscard]] FinishReason cancel_reason() const { return late_ ? FinishReason::deadline : FinishReason::cancelled; }

  std::shared_ptr<Engine> engine_;
  BusyLease lease_;  // before everything that may throw
  Clock::time_point begin_ = Clock::now();
  std::shared_ptr<Loaded> loaded_;
  SamplingConfig sampling_;
  LastReply last_;  // for the engine to remember
  PromptPlan plan_;
  sampling::Sampler sampler_;
  StreamDecoder decoder_;
  ChannelSplitter splitter_;
  StopMatcher stop_;

  bool prefilled_ = false;
  bool ended_ = false;
  std::optional<int32_t> unfed_;  // the last token of the reply, not in the state yet
  int64_t answer_tokens_ = 0;
  size_t margin_left_ = 2;  // line breaks after a thought that do not count as answer
  int64_t decode_steps_ = 0;
  std::deque<Piece> pieces_;  // ready to be handed out
  ReplyStats stats_;
  std::atomic<bool> late_ = false;  // the deadline has passed
  std::optional<Deadline> deadline_;
};

}  // namespace prosa::chat
