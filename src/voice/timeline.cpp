// The notes of a voice conversation.
#include "voice/timeline.h"

#include <algorithm>
#include <utility>

namespace prosa {

std::string_view to_string(VoiceEvent::Kind kind) noexcept {
  using Kind = VoiceEvent::Kind;
  switch (kind) {
    case Kind::speech_started: return "speech_started";
    case Kind::partial: return "partial";
    case Kind::speech_ended: return "speech_ended";
    case Kind::transcript: return "transcript";
    case Kind::read_ahead: return "read_ahead";
    case Kind::ending: return "ending";
    case Kind::draft: return "draft";
    case Kind::draft_dropped: return "draft_dropped";
    case Kind::draft_held: return "draft_held";
    case Kind::soft_commit: return "soft_commit";
    case Kind::commit: return "commit";
    case Kind::first_token: return "first_token";
    case Kind::reply_text: return "reply_text";
    case Kind::tool_call: return "tool_call";
    case Kind::tool_result: return "tool_result";
    case Kind::first_sentence: return "first_sentence";
    case Kind::sentence: return "sentence";
    case Kind::first_audio: return "first_audio";
    case Kind::paused: return "paused";
    case Kind::resumed: return "resumed";
    case Kind::interrupted: return "interrupted";
    case Kind::replaced: return "replaced";
    case Kind::reply_over: return "reply_over";
    case Kind::error: return "error";
  }
  return "unknown";
}

namespace voice {

Timeline::Timeline(std::function<void(const VoiceEvent&)> watcher) : watcher_(std::move(watcher)) {
  if (watcher_) thread_ = std::jthread([this](const std::stop_token& stop) { tell(stop); });
}

Timeline::~Timeline() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
}

Timeline::Time Timeline::now() const {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now() - begin_);
}

void Timeline::note(VoiceEvent::Kind kind, int64_t revision, std::string text) {
  if (!watcher_) return;
  const std::lock_guard lock(mutex_);
  if (events_.size() >= kMaxWaiting) events_.pop_front();
  events_.push_back({kind, now(), revision, std::move(text)});
  wake_.notify_all();
}

void Timeline::tell(const std::stop_token& stop) {
  while (true) {
    VoiceEvent event;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, stop, [&] { return !events_.empty(); });
      if (events_.empty()) return;  // stopped, and nothing waits
      event = std::move(events_.front());
      events_.pop_front();
    }
    try {
      watcher_(event);
    } catch (...) {  // a watcher's trouble is its own
      continue;
    }
  }
}

void Timeline::record(int64_t revision, const std::function<void(TurnRecord&)>& change) {
  const std::lock_guard lock(mutex_);
  if (turn_ && turn_->revision == revision) return change(*turn_);
  const auto over =
      std::find_if(turns_.rbegin(), turns_.rend(), [&](const TurnRecord& turn) { return turn.revision == revision; });
  if (over != turns_.rend()) change(*over);
}

void Timeline::begin_turn(TurnRecord turn) {
  const std::lock_guard lock(mutex_);
  turn.drafts = std::exchange(drafts_, 0);
  turn.lost_tokens = std::exchange(lost_tokens_, 0);
  turn_ = std::move(turn);
}

void Timeline::draft_begun() {
  const std::lock_guard lock(mutex_);
  ++drafts_;
}

/// Work may be told as lost before or after the turn begins that it was meant for.
void Timeline::lost(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  (turn_ ? turn_->lost_tokens : lost_tokens_) += tokens;
}

void Timeline::end_turn(int64_t revision) {
  const std::lock_guard lock(mutex_);
  if (!turn_ || turn_->revision != revision) return;
  turns_.push_back(std::move(*turn_));
  turn_.reset();
  if (turns_.size() > kMaxTurns) turns_.pop_front();
}

void Timeline::forget_turn(int64_t revision) {
  const std::lock_guard lock(mutex_);
  if (!turn_ || turn_->revision != revision) return;
  drafts_ += turn_->drafts;
  lost_tokens_ += turn_->lost_tokens;
  turn_.reset();
}

std::vector<TurnRecord> Timeline::turns() const {
  const std::lock_guard lock(mutex_);
  return {turns_.begin(), turns_.end()};
}

}  // namespace voice
}  // namespace prosa
