// The listener's thread.
#include "voice/listener.h"

#include <optional>
#include <utility>

#include "base/utf8.h"

namespace prosa::voice {
namespace {

/// More than anybody says in a turn; an engine that goes on for ever is cut off there.
constexpr size_t kMaxTranscript = size_t{16} << 10;  // bytes
constexpr std::chrono::milliseconds kCancelAgain{5};

std::string bounded(std::string text) {
  text = utf8::replace_invalid(text);
  if (text.size() <= kMaxTranscript) return text;
  size_t end = kMaxTranscript;
  while ((static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  text.resize(end);
  return text;
}

}  // namespace

Listener::Listener(std::unique_ptr<SpeechToText> engine, ListenerEvents& events)
    : engine_(std::move(engine)), events_(events), thread_([this](const std::stop_token& stop) { work(stop); }) {}

/// A call that was about to begin does not see a cancel() that came just before it: the next one reaches it.
Listener::~Listener() {
  thread_.request_stop();
  std::unique_lock lock(mutex_);
  items_.clear();
  while (!ended_) {
    if (busy_) engine_->cancel();
    wake_.wait_for(lock, kCancelAgain);
  }
}

void Listener::begin(int64_t utterance) { post({Item::Kind::begin, utterance}, false); }
void Listener::end(int64_t utterance) { post({Item::Kind::end, utterance}, false); }
void Listener::drop(int64_t utterance) { post({Item::Kind::drop, utterance}, true); }

void Listener::push(std::span<const int16_t> samples) {
  const std::lock_guard lock(mutex_);
  if (items_.empty() || items_.back().kind != Item::Kind::push) items_.push_back({Item::Kind::push, newest_});
  std::vector<int16_t>& waiting = items_.back().samples;
  if (waiting.size() + samples.size() > kMaxBehind) waiting.clear();
  waiting.insert(waiting.end(), samples.begin(), samples.end());
  wake_.notify_all();
}

void Listener::post(Item item, bool cancels) {
  const std::lock_guard lock(mutex_);
  newest_ = item.utterance;
  if (cancels) {
    dropped_ = item.utterance;
    std::erase_if(items_, [&](const Item& other) { return other.utterance == item.utterance; });
    if (busy_) engine_->cancel();
  }
  items_.push_back(std::move(item));
  wake_.notify_all();
}

void Listener::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      if (!wake_.wait(lock, stop, [&] { return !items_.empty(); })) break;
      item = std::move(items_.front());
      items_.pop_front();
      busy_ = true;
    }
    try {
      obey(*item);
    } catch (const std::exception& error) {
      open_ = false;
      failed_ = true;
      if (stop.stop_requested()) break;  // it was cancelled, and nobody waits for it
      if (wanted(item->utterance)) events_.hearing_failed(item->utterance, error.what());
      if (item->kind == Item::Kind::end && wanted(item->utterance)) events_.final(item->utterance, {});
    }
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  wake_.notify_all();
}

void Listener::obey(const Item& item) {
  switch (item.kind) {
    case Item::Kind::begin:
      if (std::exchange(open_, false)) static_cast<void>(engine_->end());  // it was dropped
      failed_ = false;
      text_.clear();
      engine_->begin();
      open_ = true;
      break;
    case Item::Kind::push: {
      if (!open_) return;
      std::string text = bounded(engine_->push(item.samples));
      if (text == text_ || !wanted(item.utterance)) return;
      text_ = text;
      events_.partial(item.utterance, text);
      break;
    }
    case Item::Kind::end: {
      const std::string text = std::exchange(open_, false) ? bounded(engine_->end()) : std::string();
      if (wanted(item.utterance)) events_.final(item.utterance, text);
      break;
    }
    case Item::Kind::drop:
      if (std::exchange(open_, false)) static_cast<void>(engine_->end());
      break;
  }
}

bool Listener::wanted(int64_t utterance) const {
  const std::lock_guard lock(mutex_);
  return utterance != dropped_;
}

bool Listener::idle() const {
  const std::lock_guard lock(mutex_);
  return items_.empty() && !busy_;
}

}  // namespace prosa::voice
