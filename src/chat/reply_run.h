// One reply under way: prefill, then token by token backend -> sampler -> text -> pieces.
//
// Drives a ReplyText (what tokens mean) with a Session (computing them) and a Sampler (choosing them); decides nothing
// about text itself. Pull-driven on the caller's thread: next() computes as much as one piece needs. Invariant: the
// engine's lease is held from construction until the reply has ended, failed, or this object dies; the session is
// usable afterwards.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "chat/reply_guide.h"
#include "chat/reply_text.h"
#include "prosa/chat.h"
#include "sampling/sampler.h"

namespace prosa::chat {

class ReplyRun {
 public:
  /// Plans and takes the lease; computes nothing yet. Errors: invalid_argument, bad_template, context_exceeded,
  /// not_loaded, busy.
  /// `guess`: what the answer may begin with; see Turn::commit.
  ReplyRun(std::shared_ptr<Engine> engine, std::span<const Message> messages, const SamplingConfig& sampling,
           std::span<const Tool> tools, std::string_view guess = {});
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
  void feed_forced();
  void sample_one();
  void take_settled();
  [[nodiscard]] bool guesses() const;
  void verify_guess();
  void take(int32_t token);
  /// Of the last row, or of that row of an attempt.
  [[nodiscard]] int32_t choose(std::optional<int64_t> row = {});
  void end() noexcept;
  [[nodiscard]] int64_t room() const;
  /// Why the reply is cancelled.
  [[nodiscard]] FinishReason cancel_reason() const;

  std::shared_ptr<Engine> engine_;
  EngineLease lease_;  // before everything that may throw
  Clock::time_point begin_ = Clock::now();
  std::shared_ptr<Loaded> loaded_;
  SamplingConfig sampling_;
  Cancel cancel_;  // the flag of the call, and its deadline
  PromptPlan plan_;
  sampling::Sampler sampler_;
  ReplyText text_;
  ReplyGuide guide_;
  LastReply last_;  // for the engine to remember

  bool prefilled_ = false;
  bool failed_ = false;
  bool ended_ = false;
  std::vector<int32_t> unfed_;  // the last tokens of the reply, not in the state yet
  std::vector<int32_t> guess_;  // what may follow; it begins with unfed_, or nothing is decided yet
  int64_t decode_steps_ = 0;
  int64_t forced_tokens_ = 0;
  std::vector<float> row_;  // [vocab], where candidates are not enough
  ReplyStats stats_;
};

}  // namespace prosa::chat
