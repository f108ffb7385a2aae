// The pipe between a handler and its connection (exchange.h).
#include "server/exchange.h"

#include <utility>

#include "base/check.h"

namespace prosa::server {

void Exchange::respond(Response response) {
  {
    const std::lock_guard lock(mutex_);
    if (begun_ || gone_) return;
    kind_.reset();
    head_ = std::move(response);
    begun_ = finished_ = true;
  }
  wake();
}

void Exchange::open_stream(StreamKind kind) {
  const std::lock_guard lock(mutex_);
  PROSA_CHECK(!begun_ && !kind_);
  kind_ = kind;
}

void Exchange::begin_stream() {
  if (begun_) return;
  begun_ = true;
  Response head;
  head.type = *kind_ == StreamKind::events ? "text/event-stream" : "application/x-ndjson";
  // What stands between client and server shall hand every part on at once.
  head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  head_ = std::move(head);
}

bool Exchange::write(std::string_view text) {
  {
    std::unique_lock lock(mutex_);
    PROSA_CHECK(kind_ && !finished_);
    while (!gone_ && unsent_ > limits_.unsent) {
      const size_t before = unsent_;
      if (drained_.wait_for(lock, limits_.patience) == std::cv_status::timeout && unsent_ == before) gone_ = true;
    }
    if (gone_) return false;
    begin_stream();
    text_ += text;
    unsent_ += text.size();
  }
  wake();
  return true;
}

void Exchange::finish() {
  {
    const std::lock_guard lock(mutex_);
    if (finished_ || gone_) return;
    PROSA_CHECK(kind_);
    begin_stream();
    finished_ = true;
  }
  wake();
}

bool Exchange::begun() const {
  const std::lock_guard lock(mutex_);
  return begun_;
}

bool Exchange::over() const {
  const std::lock_guard lock(mutex_);
  return finished_ || gone_;
}

bool Exchange::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

void Exchange::on_gone(std::function<void()> notice) {
  const std::lock_guard running(notice_mutex_);
  notice_ = std::move(notice);
  if (notice_ && gone()) std::exchange(notice_, nullptr)();
}

Exchange::Output Exchange::take() {
  const std::lock_guard lock(mutex_);
  Output output;
  output.head = std::exchange(head_, std::nullopt);
  output.streamed = kind_.has_value();
  output.text = std::exchange(text_, {});
  if (finished_ && !finish_taken_) output.finished = finish_taken_ = true;
  return output;
}

void Exchange::sent(size_t bytes) {
  const std::lock_guard lock(mutex_);
  unsent_ -= bytes;
  drained_.notify_all();
}

void Exchange::beat() {
  {
    const std::lock_guard lock(mutex_);
    if (kind_ != StreamKind::events || finished_ || gone_ || unsent_ > 0) return;
    begin_stream();
    constexpr std::string_view kComment = ": still here\n\n";
    text_ += kComment;
    unsent_ += kComment.size();
  }
  wake();
}

void Exchange::leave() {
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    drained_.notify_all();
  }
  const std::lock_guard running(notice_mutex_);
  if (notice_) std::exchange(notice_, nullptr)();
}

}  // namespace prosa::server
